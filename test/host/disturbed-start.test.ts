import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { STEPS } from '../../src/steps.ts'
import { clearFaults, setFaults } from '../fixtures/scenario.ts'
import type { ReceivedSpan } from '../fixtures/spans.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  invocationOf,
  readStatus,
  show,
  startToReady,
  stop,
  toMicroseconds,
  waitForTrace,
} from './machine.ts'
import { removeModel } from './model-store.ts'
import { wholeTrace } from './traces.ts'

// The controller has written the units of this start, and systemd is about to read them.
const UNITS_WRITTEN =
  'until grep -q \'"phase":"starting".*"number":10,[^{}]*"state":"done"\' /run/comfy-machine/state.json; do :; done'
const DROP_IN = '/etc/systemd/system/comfy-install-models.service.d/skip.conf'
const AWAY = 'systemctl stop dbus.socket dbus.service && sleep 6; systemctl start dbus.socket'
const TIMES = ['InactiveExitTimestamp', 'ActiveEnterTimestamp', 'InvocationID'] as const

/** Every step once in one trace, and the spans that carry a unit at systemd's own times. */
async function expectExactTrace(host: Host, trace: string): Promise<ReadonlyMap<number, ReceivedSpan>> {
  const spans = await waitForTrace(host, trace, 60_000)
  const { steps } = wholeTrace(spans)
  const ofUnits = spans.filter(({ attributes }) => attributes['systemd.invocation_id'] !== undefined)
  expect(ofUnits.length).toBeGreaterThanOrEqual(10)
  for (const { attributes, startUs, endUs } of ofUnits) {
    const unit = String(attributes['systemd.unit'])
    if (unit === 'comfy-machine.service' || attributes['step_number'] === 15) continue
    const times = await show(host, unit, ...TIMES)
    expect(attributes['systemd.invocation_id'], unit).toBe(times['InvocationID'])
    expect(startUs, unit).toBe(toMicroseconds(times['InactiveExitTimestamp'] ?? ''))
    expect(endUs, unit).toBe(toMicroseconds(times['ActiveEnterTimestamp'] ?? ''))
  }
  return steps
}

// One host goes through all of these starts, in this order.
describe('a start in the middle of which', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('disturbed')
    await startToReady(host)
    await stop(host)
  })

  afterEach(async () => {
    await clearFaults(host, 'models')
    await clearFaults(host, 'api')
    await stop(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  /** Starts the machine and returns its trace id once the given unit starts. */
  const startUntil = async (unit: string): Promise<string> => {
    await host.must('systemctl start --no-block comfy-machine')
    await host.waitFor(`test "$(systemctl is-active ${unit})" = activating`)
    return await invocationOf(host)
  }

  /** Waits for the end of the start; one that ends otherwise is told with what the machine says of it. */
  const waitUntil = async (how: 'is-active' | 'is-failed'): Promise<void> => {
    await host.waitFor(`systemctl ${how} comfy-machine`, 60_000).catch(async (error: unknown) => {
      const said = await host.exec('comfy-machine status; journalctl -b -p warning -o short-precise -n 60')
      throw new Error(`${String(error)}\n${said.stdout}`)
    })
  }

  test.each([
    ['systemd reloads its units', 'for i in 1 2 3; do systemctl daemon-reload; done'],
    ['systemd executes itself anew', 'systemctl daemon-reexec'],
    ['the bus is started anew', 'systemctl restart dbus'],
    ['the bus is away while the rest of it happens', AWAY],
    ['the bus and systemd are started anew', 'systemctl kill --signal=KILL dbus; systemctl daemon-reexec'],
  ])('%s is as exact as any other', async (_, disturb) => {
    await removeModel(host, 'checkpoints/demo.safetensors')
    await setFaults(host, 'models', { match: 'demo', kind: 'slow', delay_ms: 2_500 })
    const trace = await startUntil('comfy-install-models')
    await host.must(disturb)
    await waitUntil('is-active')
    expect(await show(host, 'comfy-machine.service', 'NRestarts', 'InvocationID')).toEqual({
      NRestarts: '0',
      InvocationID: trace,
    })
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', trace_id: trace, failing: [] })
    const steps = await expectExactTrace(host, trace)
    expect([...steps.values()].filter(({ attributes }) => attributes['step.state'] !== 'done')).toEqual([])
  })

  test.each([
    [
      'systemd executes itself anew again and again',
      'for i in 1 2 3 4 5 6 7 8; do systemctl daemon-reexec; sleep 0.1; done',
    ],
    ['the bus is started anew while systemd reloads its units', `${UNITS_WRITTEN}; systemctl restart dbus`],
    ['the bus is started anew again and again', 'for i in 1 2 3 4; do sleep 0.4; systemctl restart dbus; done'],
  ])('%s, from its begin, is as exact as any other', async (_, disturb) => {
    await host.must(`systemctl start --no-block comfy-machine; ${disturb}`)
    await waitUntil('is-active')
    const trace = await invocationOf(host)
    expect(await show(host, 'comfy-machine.service', 'NRestarts')).toEqual({ NRestarts: '0' })
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', trace_id: trace, failing: [] })
    await expectExactTrace(host, trace)
  })

  test('a Condition says no while the bus is away has skipped that step', async () => {
    await host.write(DROP_IN, '[Unit]\nConditionPathExists=/nonexistent\n')
    await setFaults(host, 'api', { match: '.', kind: 'slow', delay_ms: 2_000 })
    const trace = await startUntil('comfy-discover')
    await host.must(AWAY)
    await waitUntil('is-active')
    const spans = await waitForTrace(host, trace)
    const states = STEPS.map(({ event }) => spans.find(({ name }) => name === event)?.attributes['step.state'])
    expect(states).toEqual(STEPS.map(({ number }) => (number === 18 ? 'skipped' : 'done')))
    const { ConditionTimestamp = '' } = await show(host, 'comfy-install-models', 'ConditionTimestamp')
    const skipped = spans.find(({ name }) => name === 'machine.models.install')
    expect([skipped?.startUs, skipped?.endUs]).toEqual(Array(2).fill(toMicroseconds(ConditionTimestamp)))
    await host.must(['rm', DROP_IN])
  })

  test('a unit fails while the bus is away ends, and says which', async () => {
    await removeModel(host, 'checkpoints/demo.safetensors')
    await setFaults(host, 'models', { match: 'demo', kind: 'status', status: 404 })
    await setFaults(host, 'api', { match: '.', kind: 'slow', delay_ms: 2_000 })
    const trace = await startUntil('comfy-discover')
    await host.must(AWAY)
    await waitUntil('is-failed')
    const status = await readStatus(host)
    expect(status).toMatchObject({ phase: 'failed', trace_id: trace })
    expect(status.failing.map(({ step, code }) => [step, code])).toEqual([[18, 'CM1802']])
    const spans = await waitForTrace(host, trace)
    const failed = spans.find(({ name }) => name === 'machine.models.install')
    const times = await show(host, 'comfy-install-models', 'InactiveExitTimestamp', 'ExecMainExitTimestamp')
    expect([failed?.startUs, failed?.endUs]).toEqual([
      toMicroseconds(times['InactiveExitTimestamp'] ?? ''),
      toMicroseconds(times['ExecMainExitTimestamp'] ?? ''),
    ])
  })
})
