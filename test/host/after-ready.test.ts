import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readSpans } from '../fixtures/spans.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  invocationOf,
  readReady,
  readStatus,
  show,
  startToReady,
  WANTED_UNITS,
  waitForTrace,
} from './machine.ts'

const until = (code: number): string =>
  `until [ "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9090/ready)" = ${code} ]; do sleep 0.03; done`

// One machine goes through these in this order.
describe('a machine that is ready', () => {
  let host: Host
  let trace: string

  beforeAll(async () => {
    host = await bootMachine('after-ready')
    await startToReady(host)
    trace = await invocationOf(host)
    await waitForTrace(host, trace)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('falls from ready while a killed ComfyUI comes back, and the worker survives', async () => {
    const before = await show(host, 'redis-worker@gpu1.service', 'MainPID', 'InvocationID')
    const down = host.must(until(503), { timeoutMs: 20_000 })
    await host.must('systemctl kill --signal=KILL --kill-whom=main comfyui@gpu1')
    await down
    const fallen = await readReady(host)
    if (fallen.code === 503) expect(fallen.failing).toMatchObject([{ step: 19, unit: 'comfyui@gpu1.service' }])
    await host.must(until(200), { timeoutMs: 30_000 })
    expect(await show(host, 'redis-worker@gpu1.service', 'MainPID', 'InvocationID')).toEqual(before)
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', failing: [], trace_id: trace })
    expect((await host.exec(['systemctl', 'is-active', 'comfyui@gpu1'])).code).toBe(0)
  })

  test('records what happened as a short trace, linked to the startup', async () => {
    const incidentOf = async () => (await readSpans(host)).find(({ name }) => name === 'machine.incident')
    await expect.poll(incidentOf, { timeout: 15_000 }).toBeDefined()
    const incident = await incidentOf()
    const root = (await readSpans(host)).find(({ name }) => name === 'machine.startup')
    expect(incident?.traceId).not.toBe(trace)
    expect(incident?.links).toMatchObject([{ traceId: trace, spanId: root?.spanId }])
    expect(incident?.attributes).toMatchObject({
      step_number: 19,
      'systemd.unit': 'comfyui@gpu1.service',
      'gpu.index': 1,
      machine_id: 'test-machine',
    })
    expect(incident?.events).toMatchObject([
      {
        name: 'machine.step.failure',
        attributes: { error_type: 'process_signal', error_code: 'CM1990', unit: 'comfyui@gpu1.service' },
      },
    ])
    expect(incident?.status.code).toBe('error')
    expect((await readSpans(host)).filter(({ name }) => name === 'machine.incident').length).toBe(1)
  })

  test('stays one startup when the controller is killed', async () => {
    const units = ['comfyui@gpu0.service', 'redis-worker@gpu0.service', 'comfy-install-nodes.service']
    const ids = async () => Promise.all(units.map((unit) => invocationOf(host, unit)))
    const before = await ids()
    const pid = (await readStatus(host)).agent.pid
    // It is back within half a second.
    const down = host.must(until(503), { timeoutMs: 10_000 })
    await host.must('systemctl kill --signal=KILL --kill-whom=main comfy-machine')
    await down
    await host.must(until(200), { timeoutMs: 10_000 })
    await host.waitFor('systemctl is-active comfy-machine')
    const status = await readStatus(host)
    expect(status).toMatchObject({ phase: 'ready', trace_id: trace, failing: [] })
    expect(status.agent.pid).not.toBe(pid)
    expect(await ids()).toEqual(before)
    await new Promise((resolve) => setTimeout(resolve, 4_000))
    expect((await readSpans(host)).filter(({ name }) => name === 'machine.startup').length).toBe(1)
  })

  test('does not claim to be ready for a unit that ended while no controller looked', async () => {
    // Back at once, it would look.
    await host.must('systemctl mask --runtime comfy-machine-revive')
    await host.must('systemctl kill --signal=KILL --kill-whom=main comfy-machine')
    await host.must('systemctl stop comfyui@gpu1 && systemctl unmask --runtime comfy-machine-revive')
    await host.waitFor('comfy-machine status --json | grep -q \'"alive": *true\'', 40_000)
    await host.must(until(503), { timeoutMs: 10_000 })
    expect(await readStatus(host)).toMatchObject({ phase: 'degraded', trace_id: trace })
    await host.must('systemctl start redis-worker@gpu1')
    await host.must(until(200), { timeoutMs: 20_000 })
  })

  test('comes up again with the host', async () => {
    await host.must('systemctl enable comfy-machine')
    await host.reboot()
    await host.waitFor('systemctl is-active comfy-machine', 60_000)
    const id = await invocationOf(host)
    expect(id).not.toBe(trace)
    const status = await readStatus(host)
    expect(status).toMatchObject({ phase: 'ready', trace_id: id, failing: [] })
    expect(status.steps[0]?.attributes['host.start']).toBe('boot')
    expect((await host.must(['systemctl', 'is-active', ...WANTED_UNITS])).trim().split('\n')).toEqual(
      WANTED_UNITS.map(() => 'active'),
    )
    const spans = await waitForTrace(host, id)
    expect(spans.filter(({ parentSpanId }) => parentSpanId === '').map(({ name }) => name)).toEqual(['machine.startup'])
  })
})
