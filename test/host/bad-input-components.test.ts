import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { clearFaults, modelToken, setFaults } from '../fixtures/scenario.ts'
import { expectFailure, expectToGoOn } from './failure.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, installedThings, startToReady, stop, WORKSPACE } from './machine.ts'
import { removeModel } from './model-store.ts'

const NODES = 'comfy-install-nodes.service'
const MODELS = 'comfy-install-models.service'

describe('a component that cannot be installed', () => {
  let host: Host
  let installed: ReadonlyMap<string, string>

  beforeAll(async () => {
    host = await bootMachine('bad-components')
    await startToReady(host)
    installed = await installedThings(host)
    await stop(host)
  })

  beforeEach(async () => {
    await configure(host)
    for (const server of ['git', 'models'] as const) await clearFaults(host, server)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('CM1701: a custom node cannot be cloned', async () => {
    await configure(host, { COMPONENTS: 'demo,second' })
    await setFaults(host, 'git', { match: 'node-custom-script', kind: 'status', status: 500 })
    await expectFailure(host, { code: 'CM1701', unit: NODES, says: /node-custom-script/ })
    await clearFaults(host, 'git')
    await expectToGoOn(host, installed)
    expect(await host.must(`ls ${WORKSPACE}/comfyui/current/custom_nodes/node-custom-script`)).toContain('__init__.py')
  })

  test('CM1703: the requirements of a custom node cannot be met', async () => {
    await configure(host, { COMPONENTS: 'demo,bad-requirements' })
    const says = /fixture-package-that-does-not-exist/
    await expectFailure(host, { code: 'CM1703', unit: NODES, says })
    await configure(host)
    await expectToGoOn(host, installed)
  })

  test('CM1802: the source of a model answers 404', async () => {
    await configure(host, { COMPONENTS: 'demo,large' })
    await setFaults(host, 'models', { match: 'large', kind: 'status', status: 404 })
    await expectFailure(host, { code: 'CM1802', unit: MODELS, says: /large\.safetensors.*404/ })
    await clearFaults(host, 'models')
    await expectToGoOn(host, installed)
    await removeModel(host, 'checkpoints/large.safetensors')
  })

  test('CM1803: the source of a model refuses the token', async () => {
    await removeModel(host, 'vae/ae.safetensors')
    const kept = await installedThings(host)
    await configure(host, {}, { [modelToken.name]: 'not-the-token' })
    await expectFailure(host, { code: 'CM1803', unit: MODELS, says: /ae\.safetensors.*401/ })
    await configure(host)
    await expectToGoOn(host, kept)
    installed = await installedThings(host)
  })

  test('CM1804: a model has another hash', async () => {
    await configure(host, { COMPONENTS: 'demo,large' })
    await setFaults(host, 'models', { match: 'large', kind: 'hash' })
    await expectFailure(host, { code: 'CM1804', unit: MODELS, says: /large\.safetensors.*sha256/ })
    const file = `${WORKSPACE}/models/checkpoints/large.safetensors`
    expect((await host.exec(['test', '-e', file])).code).toBe(1)
    await clearFaults(host, 'models')
    await expectToGoOn(host, installed)
    await host.must(['test', '-e', file])
  })
})
