import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readSpans } from '../fixtures/spans.ts'
import type { Host } from './host.ts'
import { bootMachine, invocationOf, readStatus, startToReady, stop, waitForTrace } from './machine.ts'
import { randomOf, SEED } from './random.ts'
import { spansOf, TELEMETRY, waitForDelivery, wholeTrace } from './traces.ts'

const STARTUPS = 20

/** A startup and the moments, in ms from its begin or from the kill before, at which its controller is killed. */
interface Killed {
  readonly moments: readonly number[]
  readonly trace: string
  readonly readyMs: number
}

const MAIN_PID = 'systemctl show -P MainPID comfy-machine'
const PID = `pid=$(${MAIN_PID})`
const KILL = 'systemctl kill --signal=KILL --kill-whom=main comfy-machine 2>/dev/null'

// A controller that has no process yet is waited for: it is then killed in its very first moment.
async function startAndKill(host: Host, moments: readonly number[]): Promise<number> {
  const kills = moments.map((ms) => `sleep ${(ms / 1000).toFixed(3)}; until ${PID} && ${KILL}; do sleep 0.005; done`)
  const begunMs = Date.now()
  const lines = ['systemctl start --no-block comfy-machine', ...kills]
  // systemd takes a moment to see that a process is dead: it is up when another one is.
  const isUp = `until [ "$(${MAIN_PID})" != "$pid" ] && systemctl is-active -q comfy-machine; do sleep 0.05; done`
  const { code } = await host.exec([...lines, isUp].join('\n'), { timeoutMs: 25_000 })
  if (code !== 0) {
    const units = '-u comfy-machine -u comfy-machine-revive'
    const said = await host.exec(`comfy-machine status; journalctl -b -o short-precise -n 80 ${units}`)
    throw new Error(`a start that was killed at ${moments.join(', ')} ms did not end\n${said.stdout}`)
  }
  return Date.now() - begunMs
}

describe(`20 startups whose controller is killed (COMFY_TEST_SEED=${SEED})`, () => {
  let host: Host
  const killed: Killed[] = []

  beforeAll(async () => {
    host = await bootMachine('kills')
    await startToReady(host)
    await stop(host)
    const typicalMs = await startAndKill(host, [])
    await stop(host)
    await waitForDelivery(host)
    const random = randomOf(SEED)
    for (let index = 0; index < STARTUPS; index += 1) {
      // Two die before they have written anything; every fourth is killed three times.
      const times = index % 4 === 3 ? 3 : 1
      const moments = index < 2 ? [0] : Array.from({ length: times }, () => random() * typicalMs)
      const readyMs = await startAndKill(host, moments)
      const { trace_id } = await readStatus(host)
      killed.push({ moments, trace: trace_id, readyMs })
      await stop(host)
      // As many crashes within half an hour are this test's, and no machine's.
      await host.must('systemctl reset-failed comfy-machine-revive 2>/dev/null || true')
    }
    process.stdout.write(
      `kills: typical start ${typicalMs} ms; ${killed.map(({ moments, readyMs }) => `${moments.map(Math.round)}→${readyMs}`).join(' ')}\n`,
    )
    await waitForDelivery(host)
  }, 300_000)

  afterAll(async () => {
    await host.stop()
  })

  test('make 20 traces in the collector, each with the 21 steps exactly once', async () => {
    const all = await readSpans(host)
    expect(new Set(killed.map(({ trace }) => trace)).size).toBe(STARTUPS)
    expect(new Set(all.map(({ traceId }) => traceId)).size).toBe(STARTUPS + 2)
    for (const { trace, moments } of killed) {
      const spans = all.filter(({ traceId }) => traceId === trace)
      const { root } = wholeTrace(spans)
      const told = `killed at ${moments.join(', ')} ms`
      expect(root.status.code, told).toBe('unset')
      expect(root.attributes, told).toMatchObject({ phase: 'ready', machine_id: 'test-machine' })
      expect(root.links, told).toEqual([])
      for (const span of spans) expect(span.attributes['machine_id'], `${span.name}, ${told}`).toBe('test-machine')
    }
  })

  test('are each carried on within about a second', () => {
    const once = killed.filter(({ moments }) => moments.length === 1).map(({ readyMs }) => readyMs)
    expect(Math.max(...once)).toBeLessThan(12_000)
  })

  test('say how often their controller was killed', async () => {
    const counts = await Promise.all(
      killed.map(async ({ trace, moments }) => {
        const [root] = (await spansOf(host, trace)).filter(({ parentSpanId }) => parentSpanId === '')
        const restarts = Number(root?.attributes['machine.controller.restarts'] ?? 0)
        expect(restarts).toBeLessThanOrEqual(moments.length)
        return restarts
      }),
    )
    // A kill before anything was written left nothing to carry on, and one after the root was written is not in it.
    expect(counts.filter((count) => count > 0).length).toBeGreaterThan(STARTUPS / 4)
  })

  test('end their trace also when the controller is killed between its word that it is ready and the root', async () => {
    await host.must('systemctl stop fixture-otel')
    await startToReady(host)
    const { trace_id } = await readStatus(host)
    const isRoot = `/"name":"machine.startup"/{/${trace_id}/d}`
    const moment = [
      'systemctl kill --signal=STOP --kill-whom=main comfy-machine',
      `sed -i '${isRoot}' ${TELEMETRY}/controller/*.ndjson`,
      KILL,
    ]
    await host.must(moment.join(' && '))
    await host.waitFor(`grep '"name":"machine.startup"' ${TELEMETRY}/controller/*.ndjson | grep -q ${trace_id}`)
    await host.must('systemctl start fixture-otel')
    const { root } = wholeTrace(await waitForTrace(host, trace_id, 90_000))
    expect(root.attributes).toMatchObject({ phase: 'ready', 'machine.controller.restarts': 1 })
    expect((await readStatus(host)).trace_id).toBe(trace_id)
    await stop(host)
  })

  test('do not bring a machine back that is stopped; its next start is another one', async () => {
    await startToReady(host)
    const before = (await readStatus(host)).trace_id
    const running = await invocationOf(host, 'comfyui@gpu0.service')
    await host.must(`${KILL}; systemctl stop comfy-machine`)
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    expect((await host.exec(['systemctl', 'is-active', 'comfy-machine'])).stdout.trim()).toMatch(/^(inactive|failed)$/)
    await startToReady(host)
    const { trace_id } = await readStatus(host)
    expect(trace_id).not.toBe(before)
    expect(await invocationOf(host, 'comfyui@gpu0.service')).not.toBe(running)
    const { root } = wholeTrace(await waitForTrace(host, trace_id))
    expect(root.links).toMatchObject([
      { traceId: before, attributes: { 'link.reason': 'restart after the controller ended' } },
    ])
  })
})
