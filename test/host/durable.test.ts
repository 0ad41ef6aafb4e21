import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { clearFaults, setFaults } from '../fixtures/scenario.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, invocationOf, readStatus, start, startToReady, stop, waitForTrace } from './machine.ts'
import { removeModel } from './model-store.ts'
import {
  addBacklog,
  countArrivals,
  countDelivered,
  doubledIds,
  spansOf,
  waitForDelivery,
  wholeTrace,
} from './traces.ts'

const OUTAGE_S = Number(process.env['COMFY_TEST_OUTAGE_S'] ?? 20)
const BACKLOG = 20_000
/** The exporter needs some seconds for as many. */
const DRAINED = 60_000
const KILLS = 12
/** The most that is between the collector's answer and the note of it: a piece of 1 MiB. */
const PIECE_SPANS = 2_700

const SIGNAL = 'systemctl kill --signal'
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
const say = (text: string): void => void process.stdout.write(`durable: ${text}\n`)

// One host goes through all of these, in this order.
describe('spans that are recorded', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('durable')
    await startToReady(host)
    await stop(host)
    await waitForDelivery(host)
  })

  afterEach(async () => {
    await stop(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  test(
    `arrive in full and once when the collector was down for a whole start and ${OUTAGE_S} s more`,
    async () => {
      await host.must('systemctl stop fixture-otel')
      await startToReady(host)
      const trace = await invocationOf(host)
      await pause(OUTAGE_S * 1000)
      expect((await readStatus(host)).phase).toBe('ready')
      expect(await spansOf(host, trace)).toEqual([])
      await host.must('systemctl start fixture-otel')
      const upMs = Date.now()
      wholeTrace(await waitForTrace(host, trace, 150_000))
      say(`after ${OUTAGE_S} s without a collector the trace was there ${Date.now() - upMs} ms after it came`)
      await waitForDelivery(host)
      wholeTrace(await spansOf(host, trace))
    },
    OUTAGE_S * 1000 + 240_000,
  )

  test('arrive once when the collector hung during the start, and the start does not wait', async () => {
    const begunMs = Date.now()
    await startToReady(host)
    const freeMs = Date.now() - begunMs
    await stop(host)
    await waitForDelivery(host)
    await host.must('systemctl kill --signal=STOP fixture-otel')
    const hungMs = Date.now()
    await startToReady(host)
    say(`a start took ${freeMs} ms, and ${Date.now() - hungMs} ms with a collector that hung`)
    const trace = await invocationOf(host)
    // Longer than the delivery waits before it begins, and than the exporter's usual time limit.
    await pause(14_000)
    expect(await spansOf(host, trace)).toEqual([])
    await host.must('systemctl kill --signal=CONT fixture-otel')
    await waitForTrace(host, trace, 60_000)
    await waitForDelivery(host)
    wholeTrace(await spansOf(host, trace))
  })

  test('arrive once when the collector is slow: it works a fifth of the time', async () => {
    const halting = `while :; do ${SIGNAL}=STOP fixture-otel; sleep 0.4; ${SIGNAL}=CONT fixture-otel; sleep 0.1; done`
    await host.must(['systemd-run', '--quiet', '--unit=halting', '/bin/sh', '-c', halting])
    await startToReady(host)
    const trace = await invocationOf(host)
    await waitForTrace(host, trace, 60_000)
    await waitForDelivery(host)
    await host.must(`systemctl stop halting; ${SIGNAL}=CONT fixture-otel`)
    wholeTrace(await spansOf(host, trace))
  })

  test('are not lost when the collector is killed while they flow', async () => {
    const trace = await addBacklog(host, 'flow', BACKLOG)
    await startToReady(host)
    await host.waitFor('test -s /var/lib/comfy-machine/telemetry/delivered/flow.json', 30_000)
    let kills = 0
    while ((await countDelivered(host, 'flow')) < BACKLOG && kills < KILLS) {
      await host.must('systemctl kill --signal=KILL fixture-otel')
      kills += 1
      await host.waitFor('systemctl is-active fixture-otel')
      await pause(Math.random() * 1_500)
    }
    await waitForDelivery(host, 90_000)
    const { lost, doubled } = await countArrivals(host, trace, BACKLOG)
    say(`collector killed ${kills} times while ${BACKLOG} spans flowed: ${lost} lost, ${doubled} doubled`)
    expect(lost).toBe(0)
    expect(doubled).toBeLessThanOrEqual(kills * PIECE_SPANS)
  })

  test('are not lost when the exporter is killed at any moment, and doubled at most a piece for each time', async () => {
    // Without its courtesy to the start, so that a kill hits work and not a pause.
    const brisk = '[Service]\nExecStartPre=\nRestartSec=50ms\nRestartSteps=0\n'
    await host.write('/run/systemd/system/comfy-telemetry.service.d/brisk.conf', brisk)
    await startToReady(host)
    await waitForDelivery(host)
    await host.must('systemctl stop comfy-telemetry')
    const trace = await addBacklog(host, 'drain', DRAINED)
    await host.must('systemctl start comfy-telemetry')
    let kills = 0
    while ((await countDelivered(host, 'drain')) < DRAINED && kills < KILLS) {
      await pause(100 + Math.random() * 400)
      await host.must(
        'until systemctl kill --signal=KILL --kill-whom=main comfy-telemetry 2>/dev/null; do sleep 0.01; done',
      )
      kills += 1
    }
    await waitForDelivery(host, 90_000)
    const { lost, doubled } = await countArrivals(host, trace, DRAINED)
    say(`exporter killed ${kills} times while it drained ${DRAINED} spans: ${lost} lost, ${doubled} doubled`)
    expect(kills).toBeGreaterThan(2)
    expect(lost).toBe(0)
    expect(doubled).toBeLessThanOrEqual(kills * PIECE_SPANS)
    await host.must('rm -r /run/systemd/system/comfy-telemetry.service.d && systemctl daemon-reload')
  })

  test('of a start that failed are linked from the next one, and those of a start that was stopped are not', async () => {
    await configure(host, { WORKERS: 'nonsense' })
    expect((await start(host)).code).not.toBe(0)
    const failed = (await readStatus(host)).trace_id
    await stop(host)
    await configure(host)
    await startToReady(host)
    const next = await invocationOf(host)
    const { root } = wholeTrace(await waitForTrace(host, next))
    const [of] = (await waitForTrace(host, failed)).filter(({ parentSpanId }) => parentSpanId === '')
    expect(of?.status.code).toBe('error')
    expect(root.links).toEqual([
      { traceId: failed, spanId: of?.spanId, attributes: { 'link.reason': 'restart after a failed start' } },
    ])
    await stop(host)
    await startToReady(host)
    expect(wholeTrace(await waitForTrace(host, await invocationOf(host))).root.links).toEqual([])
  })

  test('of a start that a reset of the host cut off are delivered after the boot, under a root that says so', async () => {
    await host.must('systemctl enable comfy-machine && systemctl disable --now fixture-otel')
    await removeModel(host, 'checkpoints/demo.safetensors')
    await setFaults(host, 'models', { match: 'demo', kind: 'slow', delay_ms: 3_000 })
    await host.must('systemctl start --no-block comfy-machine')
    await host.waitFor('test "$(systemctl is-active comfy-install-models)" = activating')
    const cut = await invocationOf(host)
    await host.reboot('reset')
    await host.waitFor('systemctl is-active comfy-machine', 90_000)
    const next = await invocationOf(host)
    await host.must('systemctl enable --now fixture-otel')
    const { root } = wholeTrace(await waitForTrace(host, next, 90_000))
    await waitForDelivery(host)
    const spans = await spansOf(host, cut)
    expect(doubledIds(spans)).toEqual([])
    const roots = spans.filter(({ parentSpanId }) => parentSpanId === '')
    expect(roots).toMatchObject([
      { name: 'machine.startup', status: { code: 'error' }, attributes: { step_number: 0 } },
    ])
    expect(roots[0]?.status.message).toMatch(/interrupted/)
    const steps = spans.filter(({ parentSpanId }) => parentSpanId === roots[0]?.spanId)
    expect(roots[0]?.events.map(({ name }) => name).sort()).toEqual(steps.map(({ name }) => name).sort())
    expect(steps.map(({ attributes }) => attributes['step_number'])).toEqual(
      expect.arrayContaining([1, 2, 3, 4, 5, 6, 11]),
    )
    expect(root.links).toEqual([
      { traceId: cut, spanId: roots[0]?.spanId, attributes: { 'link.reason': 'restart after the host went down' } },
    ])
    await clearFaults(host, 'models')
  })
})
