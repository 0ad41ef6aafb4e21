import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  BROKEN,
  HOME,
  makeGeneration,
  point,
  readAllPointers,
  readRollout,
  readRolloutLines,
  startWatching,
  stopWatching,
  waitForRollout,
} from './generations.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, readReady, readStatus, show, startToReady, stop } from './machine.ts'

const GPUS = ['gpu0', 'gpu1', 'gpu2'] as const
const SEED = Number(process.env['COMFY_TEST_SEED'] ?? Date.now() % 1_000_000)
const SECONDS = 5

const WORKFLOW = {
  '1': { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 255 } },
  '2': { class_type: 'FixtureSleep', inputs: { image: ['1', 0], seconds: SECONDS } },
  '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'test' } },
}

/** Numbers from 0 to 1, the same ones for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const on = (generation: string): Readonly<Record<string, string>> =>
  Object.fromEntries(['current', ...GPUS].map((pointer) => [pointer, generation]))

/** A start sets the pointers of GPUs that have none. */
async function playInstaller(host: Host): Promise<void> {
  const script = `#!/bin/sh\ncd ${HOME}\nfor g in ${GPUS.join(' ')}; do [ -e $g ] || ln -sfn "$(readlink current)" $g; done\n`
  await host.write('/root/pointers', script, '0755')
  const unit = '/etc/systemd/system/comfy-install-nodes.service.d/pointers.conf'
  await host.write(unit, '[Service]\nExecStartPost=+/root/pointers\n')
}

// One machine goes through these in this order.
describe(`a rollout on a machine with three GPUs (COMFY_TEST_SEED=${SEED})`, () => {
  let host: Host
  let base: string

  beforeAll(async () => {
    host = await bootMachine('rollout', { MOCK_GPU_NUM: '3' })
    await playInstaller(host)
    await host.write('/root/job.json', JSON.stringify(WORKFLOW))
    await startToReady(host)
    await waitForRollout(host)
    base = (await readAllPointers(host))['current'] ?? ''
    await makeGeneration(host, 'good')
    await makeGeneration(host, 'bad', 'broken')
  })

  afterAll(async () => {
    await host.stop()
  })

  const invocations = async (units: readonly string[]): Promise<readonly (string | undefined)[]> =>
    Promise.all(units.map(async (unit) => (await show(host, unit, 'InvocationID'))['InvocationID']))
  /** Has comfy-update.service run something else. */
  const playUpdate = async (command: string): Promise<void> => {
    const unit = '/etc/systemd/system/comfy-update.service.d/play.conf'
    await host.write(unit, `[Service]\nExecStart=\nExecStart=${command}\n`)
    await host.must('systemctl daemon-reload')
  }
  const expectAllOn = async (generation: string): Promise<void> => {
    expect(await readAllPointers(host)).toEqual(on(generation))
    const units = GPUS.flatMap((gpu) => [`comfyui@${gpu}`, `redis-worker@${gpu}`])
    expect(await host.must(['systemctl', 'is-active', ...units])).toBe('active\n'.repeat(units.length))
    const link = await host.must(
      'for p in $(systemctl show -P MainPID comfyui@gpu{0,1,2}); do readlink /proc/$p/cwd; done',
    )
    expect(new Set(link.trim().split('\n'))).toEqual(new Set([`${HOME}/generations/${generation}`]))
  }

  test('is proven by its first start', async () => {
    expect(await readRollout(host)).toEqual({ schema: 1, proven: [base], previous: null, rejected: {} })
    expect(await readStatus(host)).toMatchObject({ generations: { current: base, rollout: null } })
  })

  test('tries one GPU first, lets every job end, and takes one GPU at a time', async () => {
    const jobs = GPUS.map(() => host.exec('comfy-machine submit --wait /root/job.json', { timeoutMs: 60_000 }))
    await host.waitFor(
      `[ "$(for p in 8188 8189 8190; do curl -s http://127.0.0.1:$p/queue; echo; done | grep -c 'queue_running": *\\[\\[')" = 3 ]`,
    )
    const workers = GPUS.map((gpu) => `redis-worker@${gpu}`)
    const before = await invocations(workers)
    await startWatching(host, GPUS)
    await point(host, 'next', 'good')
    for (const { code, stdout } of await Promise.all(jobs)) expect(code, stdout).toBe(0)
    await waitForRollout(host)
    const seen = await stopWatching(host)
    expect(seen.length).toBeGreaterThan(20)
    expect(Math.min(...seen.map(({ gpus }) => gpus.filter(Boolean).length))).toBe(2)
    expect(new Set(seen.map(({ ready }) => ready))).toEqual(new Set([200]))
    await expectAllOn('good')
    for (const [index, id] of (await invocations(workers)).entries()) expect(id).not.toBe(before[index])
    expect(await readRolloutLines(host, 'good')).toEqual([
      ...[
        'begun',
        'moving gpu0',
        'proven gpu0',
        'moved gpu0',
        'moving gpu1',
        'moved gpu1',
        'moving gpu2',
        'moved gpu2',
      ],
      'done',
    ])
    expect(await readRollout(host)).toMatchObject({ proven: [base, 'good'], previous: base, rejected: {} })
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', failing: [], generations: { rollout: null } })
    const lines = await host.must('journalctl -b -q -u "redis-worker@*" -g "returned|gave up" || true')
    expect(lines).toBe('')
  })

  test('sends a generation back that does not prove itself, and never stops the others', async () => {
    const others = ['gpu1', 'gpu2'].flatMap((gpu) => [`comfyui@${gpu}`, `redis-worker@${gpu}`])
    const before = await invocations(others)
    await startWatching(host, GPUS)
    const begunMs = Date.now()
    await point(host, 'next', 'bad')
    await waitForRollout(host)
    process.stdout.write(`rollout: sent back in ${Date.now() - begunMs} ms\n`)
    const seen = await stopWatching(host)
    expect(seen.every(({ gpus, ready }) => gpus[1] === true && gpus[2] === true && ready === 200)).toBe(true)
    expect(await invocations(others)).toEqual(before)
    await expectAllOn('good')
    const { proven, rejected } = await readRollout(host)
    expect(proven).toEqual([base, 'good'])
    expect(rejected['bad']).toMatchObject({ gpu: 'gpu0', unit: 'comfyui@gpu0.service', code: 'CM1902' })
    expect(rejected['bad']?.message).toContain('node-alpha')
    expect(rejected['bad']?.lines.join('\n')).toContain(BROKEN)
    const status = await readStatus(host)
    expect(status).toMatchObject({ phase: 'ready', failing: [], generations: { rejected: { generation: 'bad' } } })
    expect(await readRolloutLines(host, 'bad')).toEqual(['begun', 'moving gpu0', 'rejected gpu0'])
  })

  test('does not try it again unless an update asks for it', async () => {
    const units = GPUS.map((gpu) => `comfyui@${gpu}`)
    const before = await invocations(units)
    await point(host, 'next', 'bad')
    await host.waitFor(`[ ! -L ${HOME}/next ]`)
    expect(await invocations(units)).toEqual(before)
    const { warnings } = JSON.parse(await host.must('comfy-machine status --json')) as { readonly warnings: string[] }
    expect(warnings.at(-1)).toMatch(/^generation bad is wanted and was sent back before: comfyui@gpu0.service CM1902/)
    await playUpdate(`/bin/ln -sfn generations/bad ${HOME}/next`)
    const { code, stderr } = await host.exec('comfy-machine update')
    expect(stderr).toMatch(
      /^comfy-machine: CM1910 generation bad was sent back: comfyui@gpu0.service CM1902: .*node-alpha/,
    )
    expect(code).toBe(1)
    expect((await invocations(units)).map((id, index) => id === before[index])).toEqual([false, true, true])
    await expectAllOn('good')
  })

  test('is followed by `comfy-machine update`, which tells when there is nothing new', async () => {
    await playUpdate('/bin/true')
    const same = await host.exec('comfy-machine update --json')
    expect(JSON.parse(same.stdout)).toEqual({ outcome: 'same', generation: 'good' })
    await makeGeneration(host, 'better')
    await playUpdate(`/bin/ln -sfn generations/better ${HOME}/next`)
    const { code, stdout } = await host.exec('comfy-machine update')
    expect(stdout).toContain('gpu1 is being moved to generation better\n')
    expect(stdout).toMatch(/the machine is on generation better\n$/)
    expect(code).toBe(0)
    await expectAllOn('better')
    await playUpdate('/bin/false')
    const failed = await host.exec('comfy-machine update')
    expect(failed.stderr).toMatch(/^comfy-machine: CM1790 comfy-update.service ended without a result/)
    expect(failed.code).toBe(1)
    expect((await host.exec(['runuser', '-u', 'comfy', '--', 'comfy-machine', 'update'])).code).toBe(64)
  })

  test('goes back and there again with `comfy-machine rollback`', async () => {
    const { code, stdout } = await host.exec('comfy-machine rollback')
    expect(stdout).toMatch(/the machine is on generation good, and stays there until comfy-machine update\n$/)
    expect(code).toBe(0)
    await expectAllOn('good')
    expect(await readRollout(host)).toMatchObject({
      previous: 'better',
      pinned: { generation: 'good', wish: 'better' },
    })
    const rows = JSON.parse(await host.must('comfy-machine generations --json')) as { id: string; states: string[] }[]
    expect(rows.find(({ id }) => id === 'good')).toMatchObject({ states: ['current', 'pinned', 'proven'], gpus: GPUS })
    expect(rows.find(({ id }) => id === 'bad')).toMatchObject({ states: ['rejected'], rejected: { code: 'CM1902' } })
    expect((await host.exec('comfy-machine rollback nowhere')).stderr).toContain('CM1911')
    expect((await host.exec('comfy-machine rollback bad')).stderr).toContain('CM1910')
    expect((await host.exec('comfy-machine rollback better')).code).toBe(0)
    await expectAllOn('better')
    expect((await readRollout(host)).pinned).toBeUndefined()
  })

  test('ends on one generation when the controller is killed at any moment', async () => {
    const random = randomOf(SEED)
    const told: string[] = []
    for (let index = 0; index < 12; index += 1) {
      const goal = index % 2 === 0 ? 'good' : 'better'
      const moments = Array.from({ length: index % 3 === 2 ? 3 : 1 }, () => random() * 1.5)
      await point(host, 'next', goal)
      const kills = moments.map(
        (seconds) => `sleep ${seconds.toFixed(3)}; systemctl kill --signal=KILL --kill-whom=main comfy-machine`,
      )
      await host.must(kills.join('; '))
      await host.waitFor(`[ ! -L ${HOME}/next ]`, 60_000)
      await waitForRollout(host)
      told.push(moments.map((seconds) => Math.round(seconds * 1000)).join('+'))
      await expectAllOn(goal)
      await host.must('systemctl reset-failed comfy-machine-revive 2>/dev/null || true')
    }
    process.stdout.write(`rollout: controller killed after ${told.join(', ')} ms\n`)
    // The last kill may have come after the end.
    await expect.poll(() => readReady(host), { timeout: 10_000 }).toMatchObject({ code: 200, failing: [] })
  })

  test('goes on after a reset in the middle', async () => {
    await host.must('systemctl enable comfy-machine')
    await point(host, 'next', 'good')
    await host.waitFor(`[ "$(readlink ${HOME}/gpu0)" = generations/good ]`)
    await host.must('sync')
    await host.reboot('reset')
    await host.waitFor('systemctl is-active comfy-machine', 60_000)
    await expectAllOn('good')
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', failing: [], generations: { rollout: null } })
    await host.must('systemctl disable comfy-machine')
  })

  test('is finished by a start before its last step', async () => {
    await stop(host)
    await point(host, 'next', 'better')
    await point(host, 'gpu0', 'better')
    await startToReady(host)
    await expectAllOn('better')
    const order = await host.must(
      'journalctl -b -q -u comfy-machine -o cat | grep -E "is on generation better|step 21/21" | tail -2',
    )
    expect(order).toMatch(/^the machine is on generation better\nstep 21\/21/)
  })

  test('that a start began is sent back, and the start becomes ready', async () => {
    await stop(host)
    await makeGeneration(host, 'worse', 'broken')
    await point(host, 'next', 'worse')
    await point(host, 'gpu0', 'worse')
    await startToReady(host)
    await expectAllOn('better')
    const status = await readStatus(host)
    expect(status).toMatchObject({
      ...{ phase: 'ready', failing: [] },
      generations: { current: 'better', rejected: { generation: 'worse', gpu: 'gpu0', code: 'CM1902' } },
    })
    expect(status.steps[18]).toMatchObject({ state: 'done' })
    expect(status.steps[18]?.attempts).toBeGreaterThan(0)
    expect(await readReady(host)).toMatchObject({ code: 200, failing: [] })
    const table = await host.must('comfy-machine generations')
    expect(table).toMatch(/^better .* gpu0 gpu1 gpu2 +current, .*proven$/m)
    expect(table).toMatch(/^worse was sent back by gpu0: CM1902 .*node-alpha/m)
  })

  test('of a machine that is stopped is planned by `comfy-machine rollback`', async () => {
    await stop(host)
    const { code, stdout } = await host.exec('comfy-machine rollback good')
    expect([code, stdout]).toEqual([0, 'the next start is on generation good\n'])
    expect((await readRollout(host)).pinned).toEqual({ generation: 'good', wish: 'better' })
    expect((await host.exec('comfy-machine rollback better')).stdout).toBe('the next start is on generation better\n')
    expect((await readRollout(host)).pinned).toBeUndefined()
    expect((await host.exec('comfy-machine update')).stderr).toMatch(
      /^comfy-machine: CM1912 the machine is not running/,
    )
  })

  test('is sent back on a machine with one GPU as well', async () => {
    await configure(host, { MOCK_GPU_NUM: '1' })
    await makeGeneration(host, 'worst', 'broken')
    await point(host, 'next', 'worst')
    await point(host, 'gpu0', 'worst')
    await startToReady(host)
    expect(await readAllPointers(host)).toMatchObject({ current: 'better', gpu0: 'better' })
    expect((await readRollout(host)).rejected['worst']).toMatchObject({ code: 'CM1902' })
    await point(host, 'next', 'good')
    await waitForRollout(host)
    expect(await readAllPointers(host)).toMatchObject({ current: 'good', gpu0: 'good' })
    const degraded = await host.must('journalctl -b -q -u comfy-machine -o cat -g "no longer ready"')
    expect(degraded).toContain('the machine is no longer ready: gpu0 is being moved to generation good')
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', failing: [] })
  })
})
