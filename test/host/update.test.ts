import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readAllPointers, readRollout, waitForRollout } from './generations.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, readReady, readStatus, show, startToReady, stop } from './machine.ts'

const UNITS = ['comfyui@gpu0', 'redis-worker@gpu0', 'comfyui@gpu1', 'redis-worker@gpu1']

interface Outcome {
  readonly outcome: string
  readonly generation: string
  readonly code?: string
  readonly message?: string
}

// One machine goes through these in this order; the installers are the real ones.
describe('comfy-machine update', () => {
  let host: Host
  let first: string
  let second: string

  beforeAll(async () => {
    host = await bootMachine('update')
    await startToReady(host)
    await waitForRollout(host)
    first = (await readAllPointers(host))['current'] ?? ''
  })

  afterAll(async () => {
    await host.stop()
  })

  const update = async (...options: readonly string[]): Promise<Outcome> =>
    JSON.parse((await host.exec(['comfy-machine', 'update', '--json', ...options])).stdout) as Outcome
  const invocations = async (units: readonly string[]): Promise<readonly (string | undefined)[]> =>
    Promise.all(units.map(async (unit) => (await show(host, unit, 'InvocationID'))['InvocationID']))
  const nodesOf = async (gpu: string): Promise<string> =>
    host.must(`ls /proc/$(systemctl show -P MainPID comfyui@${gpu})/cwd/custom_nodes`)

  test('does nothing when nothing is new', async () => {
    const before = await invocations(UNITS)
    expect(await update()).toEqual({ outcome: 'same', generation: first })
    expect(await invocations(UNITS)).toEqual(before)
  })

  test('brings what the configuration asks for now to every GPU', async () => {
    await configure(host, { COMPONENTS: 'demo,second' })
    const { code, stdout } = await host.exec('comfy-machine update')
    expect(code, stdout).toBe(0)
    second = (await readAllPointers(host))['current'] ?? ''
    expect(second).not.toBe(first)
    expect(await readAllPointers(host)).toEqual({ current: second, gpu0: second, gpu1: second })
    for (const gpu of ['gpu0', 'gpu1']) expect(await nodesOf(gpu)).toContain('node-custom-script')
    expect(await readReady(host)).toMatchObject({ code: 200, failing: [] })
  })

  test('changes nothing that runs when the build fails', async () => {
    const before = await invocations(UNITS)
    await configure(host, { COMPONENTS: 'demo,second,conflict' })
    const failed = await host.exec('comfy-machine update')
    expect(failed.stderr).toMatch(/^comfy-machine: CM1706 /)
    expect(failed.code).toBe(1)
    expect(await invocations(UNITS)).toEqual(before)
    expect((await readAllPointers(host))['current']).toBe(second)
  })

  test('sends back what does not prove itself', async () => {
    const before = await invocations(UNITS.slice(2))
    await configure(host, { COMPONENTS: 'demo,second,broken-import' })
    const { outcome, code, message } = await update()
    expect([outcome, code]).toEqual(['failed', 'CM1910'])
    expect(message).toContain('node-broken-import')
    expect(await readAllPointers(host)).toEqual({ current: second, gpu0: second, gpu1: second })
    expect(await invocations(UNITS.slice(2))).toEqual(before)
    expect(await readReady(host)).toMatchObject({ code: 200, failing: [] })
  })

  test('is the only one to try that again: a start stays on what proved itself and says why', async () => {
    await stop(host)
    await startToReady(host)
    expect(await readAllPointers(host)).toEqual({ current: second, gpu0: second, gpu1: second })
    const { warnings } = JSON.parse(await host.must('comfy-machine status --json')) as { readonly warnings: string[] }
    expect(warnings.join('\n')).toMatch(
      /is wanted and was sent back before: comfyui@gpu0.service CM1902 .*node-broken-import/,
    )
  })

  test('is what ends a rollback, and no start does', async () => {
    await configure(host, { COMPONENTS: 'demo,second' })
    expect((await host.exec('comfy-machine rollback')).code).toBe(0)
    expect(await readAllPointers(host)).toEqual({ current: first, gpu0: first, gpu1: first })
    await stop(host)
    await startToReady(host)
    expect(await readAllPointers(host)).toEqual({ current: first, gpu0: first, gpu1: first })
    expect((await readRollout(host)).pinned).toEqual({ generation: first, wish: second })
    expect(await update()).toEqual({ outcome: 'updated', generation: second })
    expect((await readRollout(host)).pinned).toBeUndefined()
    expect(await readAllPointers(host)).toEqual({ current: second, gpu0: second, gpu1: second })
  })

  test('of a machine that is stopped is its next start; a rollback of one is, too', async () => {
    await stop(host)
    expect(await update()).toMatchObject({ outcome: 'failed', code: 'CM1912' })
    expect((await host.exec(['comfy-machine', 'rollback', first])).code).toBe(0)
    await startToReady(host)
    expect(await readAllPointers(host)).toEqual({ current: first, gpu0: first, gpu1: first })
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', generations: { current: first, rollout: null } })
    await stop(host)
    await configure(host)
    await startToReady(host)
    expect((await readAllPointers(host))['current']).toBe(first)
  })

  test('installs a lock exactly', async () => {
    await configure(host, { COMPONENTS: 'no-such-workflow' })
    const lock = `/var/lib/comfy-machine/comfyui/generations/${second}/machine.lock.json`
    expect(await update('--locked', lock)).toEqual({ outcome: 'updated', generation: second })
    expect((await host.exec(['comfy-machine', 'update', '--locked', '/nowhere'])).code).toBe(64)
  })

  test('returns at once with --no-wait', async () => {
    await configure(host)
    expect(await update('--no-wait')).toEqual({ outcome: 'begun', generation: null })
    const again = await update()
    if (again.outcome === 'failed') expect(again.code).toBe('CM1912')
    await host.waitFor(`[ "$(basename "$(readlink /var/lib/comfy-machine/comfyui/current)")" = ${first} ]`)
    await waitForRollout(host)
  })
})
