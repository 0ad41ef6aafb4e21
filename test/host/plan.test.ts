import { afterAll, beforeAll, expect, test } from 'vitest'
import { componentNode, readRequests, setFaults, writeComponents } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, startToReady, WORKSPACE } from './machine.ts'

interface Plan {
  readonly changes: readonly string[]
  readonly restarts: readonly string[]
  readonly installation: {
    readonly isNewGeneration: boolean
    readonly requirements: string
    readonly generation: string
    readonly nodes: readonly { readonly name: string; readonly change: string; readonly source: string }[]
    readonly models: readonly { readonly name: string; readonly action: string; readonly bytes: number | null }[]
    readonly downloadBytes: number
    readonly disk: { readonly neededBytes: number; readonly freeBytes: number; readonly fits: boolean }
  }
}

let host: Host

beforeAll(async () => {
  host = await bootMachine('plan')
  await startToReady(host)
})

afterAll(async () => {
  await host.stop()
})

const tree = (): Promise<string> =>
  host.must(
    `find ${WORKSPACE}/comfyui ${WORKSPACE}/components.json /var/cache/comfy-machine -printf '%p %i %T@\\n' | sort | sha256sum`,
  )

test('finds nothing to change in a machine that is as it is wanted', async () => {
  const { code, stdout } = await host.exec('comfy-machine plan --json')
  const { installation, changes, restarts } = JSON.parse(stdout) as Plan
  expect(code).toBe(0)
  expect({ changes, restarts, new: installation.isNewGeneration }).toEqual({ changes: [], restarts: [], new: false })
  expect(installation.nodes.map(({ change }) => change)).toEqual(Array(5).fill('same'))
  expect(`generations/${installation.generation}`).toBe(
    (await host.must(['readlink', `${WORKSPACE}/comfyui/current`])).trim(),
  )
})

test('says what another wish would clone, resolve, download and restart, and changes nothing', async () => {
  await configure(host, { COMPONENTS: 'demo,second,large' })
  await writeComponents(host, 'defaults', [componentNode('node-alpha', { is_default: true, install_order: 1 })])
  const before = await tree()
  const asked = (await readRequests(host, 'git')).length
  const { code, stdout } = await host.exec('comfy-machine plan --json')
  expect(code).toBe(2)
  const { installation, restarts } = JSON.parse(stdout) as Plan
  const changed = installation.nodes.filter(({ change }) => change !== 'same')
  expect(changed.map(({ name, change, source }) => [name, change, source])).toEqual([
    ['node-custom-script', 'add', 'clone'],
    ['node-fixture', 'remove', 'nothing'],
  ])
  expect(installation.models.map(({ name, action, bytes }) => [name, action, bytes])).toEqual([
    ['style.safetensors', 'download', 65536],
    ['large.safetensors', 'download', 16777216],
  ])
  expect(installation).toMatchObject({ isNewGeneration: true, requirements: 'resolve', downloadBytes: 16842752 })
  expect(installation.disk).toMatchObject({ neededBytes: 16842752, fits: true })
  expect(restarts).toEqual(
    expect.arrayContaining(['comfyui@gpu0.service', 'comfyui@gpu1.service', 'redis-worker@gpu0.service']),
  )
  const text = await host.exec('comfy-machine plan')
  expect(text.code).toBe(2)
  expect(text.stdout).toContain('+ node-custom-script')
  expect(text.stdout).toContain('16.8 MB (16,842,752 bytes) to download')
  expect(await tree()).toBe(before)
  expect((await readRequests(host, 'git')).length).toBe(asked)
})

test('ends with 1 where it cannot know', async () => {
  await setFaults(host, 'api', { match: '.', kind: 'status', status: 404 })
  const { code, stderr } = await host.exec('comfy-machine plan')
  expect(code).toBe(1)
  expect(stderr).toMatch(/CM160\d/)
})
