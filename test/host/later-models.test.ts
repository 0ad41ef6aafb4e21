import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clearFaults, fixtureUrls, readComponents, setFaults, writeComponents } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  get,
  invocationOf,
  readJournal,
  readReady,
  readStatus,
  show,
  startToReady,
  WORKSPACE,
  waitForTrace,
} from './machine.ts'

const UNIT = 'comfy-load-models.service'
const BYTES = 16 * 1024 * 1024
const MODELS = `${WORKSPACE}/models/checkpoints`

const modelOf = (name: string, when: 'before_start' | 'after_start', bytes = BYTES) => ({
  ...{ name, when, downloadUrl: `${fixtureUrls.models}/models/${name}?size=${bytes}` },
  ...{ saveTo: `models/checkpoints/${name}`, fileSize: bytes, hash: null },
})
const FIRST = modelOf('first.safetensors', 'before_start', 65536)
const LATER = modelOf('later.safetensors', 'after_start')
const WRONG = modelOf('wrong.safetensors', 'after_start', 65536)

/** Sets the models of the only workflow. */
async function offer(host: Host, ...models: readonly object[]): Promise<void> {
  const workflows = await readComponents(host, 'workflows')
  const later = { workflow_id: 'later', workflow_name: 'later', models, custom_nodes: [] }
  await writeComponents(host, 'workflows', { ...workflows, later })
}

interface Later {
  readonly state: string
  readonly progress: { readonly done: number; readonly total: number; readonly total_bytes: number } | null
}

async function readLater(host: Host): Promise<Later | null> {
  return (JSON.parse((await get(host, '/status')).body) as { readonly later_models: Later | null }).later_models
}

// One machine goes through these in this order.
describe('models that are loaded after the start', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('later-models', { COMPONENTS: 'later', MOCK_GPU_NUM: '1', MODEL_CONNECTIONS: '1' })
    await host.write(`/etc/systemd/system/${UNIT}.d/10-test.conf`, '[Service]\nRestartSec=3\n')
    await offer(host, FIRST, LATER)
    // 64 KiB each 100 ms.
    await setFaults(host, 'models', { match: 'later', kind: 'slow', delay_ms: 1000 })
    await startToReady(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('do not keep the machine from being ready, and are told of', async () => {
    await expect.poll(() => readLater(host), { timeout: 20_000 }).toMatchObject({ progress: { total: 1 } })
    const ready = await readReady(host)
    expect(ready).toMatchObject({ code: 200, ready: true, failing: [] })
    expect(ready).not.toHaveProperty('degraded')
    expect(await readLater(host)).toMatchObject({
      state: 'running',
      progress: { done: 0, total: 1, total_bytes: BYTES },
    })
    const status = await host.exec('comfy-machine status')
    expect(status.code).toBe(0)
    expect(status.stdout).toContain('and further models are loaded\n')
    expect(status.stdout).toMatch(
      /\n\nloading after the start: 0\/1 models, \d+\.\d\/16\.8 MB.*\n {4}\[[#-]{20}\] +\d+%\n$/,
    )
    expect((await get(host, '/metrics')).body).toContain('comfy_machine_later_models_state{state="running"} 1\n')
    expect(await host.must(`cd ${MODELS} && ls *.safetensors`)).toBe('first.safetensors\n')
    const step = (await readStatus(host)).steps[17]
    expect(step?.attributes).toMatchObject({ 'models.wanted': 1, 'models.later': 1 })
    // The evidence does not miss them.
    const evidence = await host.must(`cat ${WORKSPACE}/instances/gpu0/evidence/*.json`)
    expect(JSON.parse(evidence)).toMatchObject({ isComplete: true, models: { wanted: 1, displaced: [] } })
    const said = await readJournal(host, 'COMFY_UNIT=comfy-load-models.service')
    expect(said.map(({ MESSAGE }) => MESSAGE)).toEqual(['1 model (16.8 MB) is loaded after the start'])
  })

  test('go on loading when the controller is killed, once', async () => {
    const before = await show(host, UNIT, 'InvocationID', 'MainPID')
    const { agent } = await readStatus(host)
    await host.must('systemctl kill --signal=KILL --kill-whom=main comfy-machine')
    const isBack = async () => (await readStatus(host)).agent
    await expect
      .poll(isBack, { timeout: 20_000 })
      .toMatchObject({ alive: true, pid: expect.not.toBeOneOf([agent.pid]) })
    await host.waitFor('systemctl is-active comfy-machine')
    expect(await readLater(host)).toMatchObject({ state: 'running', progress: { total: 1 } })
    expect(await show(host, UNIT, 'InvocationID', 'MainPID')).toEqual(before)
    const said = await readJournal(host, 'COMFY_UNIT=comfy-load-models.service')
    expect(said).toHaveLength(1)
  })

  test('are taken up again by systemd when what loads them is killed', async () => {
    const before = await invocationOf(host, UNIT)
    await host.must(`systemctl kill --signal=KILL ${UNIT}`)
    await expect.poll(async () => (await readLater(host))?.state, { timeout: 5_000 }).toBe('waiting')
    expect(await readReady(host)).toMatchObject({
      ...{ code: 200, ready: true },
      degraded: [{ code: 'CM1890', component: 'models for after the start', unit: UNIT }],
    })
    await expect.poll(async () => (await readLater(host))?.state, { timeout: 20_000 }).toBe('running')
    expect(await invocationOf(host, UNIT)).not.toBe(before)
  })

  test('are there at last, which is told, and is a trace of its own', async () => {
    await host.waitFor(`systemctl is-active ${UNIT}`, 90_000)
    await expect.poll(async () => (await readLater(host))?.state, { timeout: 5_000 }).toBe('done')
    expect(await readReady(host)).not.toHaveProperty('degraded')
    expect(await host.must(`stat -c %s ${MODELS}/later.safetensors`)).toBe(`${BYTES}\n`)
    const said = await readJournal(host, 'COMFY_UNIT=comfy-load-models.service')
    expect(said.at(-1)?.['MESSAGE']).toMatch(/^the model that was to be loaded after the start is there: 1 downloaded/)
    const { trace_id: startup } = await readStatus(host)
    const trace = await invocationOf(host, UNIT)
    const spans = await waitForTrace(host, trace)
    expect(spans.map(({ name }) => name).sort()).toEqual(['machine.models.load', 'model later.safetensors'])
    const root = spans.find(({ parentSpanId }) => parentSpanId === '')
    expect(root?.links).toMatchObject([{ traceId: startup }])
    expect((await host.exec('comfy-machine status')).stdout).not.toContain('after the start')
  })

  test('that an update brings and that fail leave the machine ready, and are named', async () => {
    await clearFaults(host, 'models')
    await setFaults(host, 'models', { match: 'wrong', kind: 'status', status: 404 })
    await offer(host, FIRST, LATER, WRONG)
    await host.must('comfy-machine update', { timeoutMs: 120_000 })
    await expect.poll(async () => (await readLater(host))?.state, { timeout: 60_000 }).toBe('failed')
    const ready = await readReady(host)
    expect(ready).toMatchObject({
      ...{ code: 200, ready: true, failing: [] },
      degraded: [{ step: 18, code: 'CM1802', component: 'model wrong.safetensors', unit: UNIT }],
    })
    const status = await host.exec('comfy-machine status')
    expect(status.code).toBe(0)
    expect(status.stdout).toContain('CM1802  without model wrong.safetensors, comfy-load-models.service\n')
    const last = await host.exec('comfy-machine explain --last')
    expect(last.stdout).toContain('  without model wrong.safetensors, which is loaded after the start\n')
    expect(last.stdout).toContain('journalctl -u comfy-load-models')
  })

  test('are not missed any more when they come after all', async () => {
    await clearFaults(host, 'models')
    await host.must(`systemctl start ${UNIT}`, { timeoutMs: 60_000 })
    await expect.poll(() => readReady(host), { timeout: 5_000 }).not.toHaveProperty('degraded')
    expect(await host.must(`stat -c %s ${MODELS}/wrong.safetensors`)).toBe('65536\n')
  })

  test('are stopped with the machine', async () => {
    await host.must('systemctl stop comfy-machine', { timeoutMs: 60_000 })
    expect((await show(host, UNIT, 'ActiveState'))['ActiveState']).toBe('inactive')
  })
})
