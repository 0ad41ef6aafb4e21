import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { STEPS } from '../../src/steps.ts'
import { spanIdOfWork } from '../../src/trace-context.ts'
import { clearFaults, setFaults } from '../fixtures/scenario.ts'
import { type ReceivedSpan, readSpans } from '../fixtures/spans.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  invocationOf,
  type JournalLine,
  readJournal,
  readStatus,
  show,
  startToReady,
  stop,
  toMicroseconds,
  waitForTrace,
} from './machine.ts'
import { removeModel } from './model-store.ts'
import { wholeTrace } from './traces.ts'

const UNIT_OF_STEP: Readonly<Record<number, string>> = {
  2: 'comfy-machine.service',
  12: 'comfy-health.service',
  14: 'comfy-install-comfyui.service',
  16: 'comfy-discover.service',
  17: 'comfy-install-nodes.service',
  18: 'comfy-install-models.service',
}
const UNIT_OF_GPU_STEP: Readonly<Record<number, string>> = { 13: 'comfyui', 19: 'comfyui', 20: 'redis-worker' }

// One host goes through all of these starts, in this order.
describe('the trace of a start', () => {
  let host: Host
  let trace: string
  let spans: readonly ReceivedSpan[]

  beforeAll(async () => {
    host = await bootMachine('trace')
    await startToReady(host)
    trace = await invocationOf(host)
    spans = await waitForTrace(host, trace)
  })

  afterAll(async () => {
    await host.stop()
  })

  const childrenOf = (number: number): readonly ReceivedSpan[] => {
    const step = wholeTrace(spans).steps.get(number)
    return spans.filter(({ parentSpanId }) => parentSpanId === step?.spanId)
  }

  test('is one trace, named by the InvocationID of the service', async () => {
    expect(trace).toMatch(/^[0-9a-f]{32}$/)
    expect([...new Set((await readSpans(host)).map(({ traceId }) => traceId))]).toEqual([trace])
    const lines = await readJournal(host, `_SYSTEMD_INVOCATION_ID=${trace}`, 'COMFY_STEP=21')
    expect(lines.length).toBe(1)
  })

  test('has the steps in the order in which they completed', () => {
    const { root, steps } = wholeTrace(spans)
    expect(root.attributes).toMatchObject({ step_number: 0, machine_id: 'test-machine', gpu_mode: 'mock' })
    expect(root.status.code).not.toBe('error')
    const times = root.events.map(({ atUs }) => atUs)
    expect(times).toEqual([...times].sort((a, b) => a - b))
    for (const { name, atUs, attributes } of root.events) {
      const step = STEPS.find(({ event }) => event === name)
      expect(attributes).toMatchObject({
        machine_id: 'test-machine',
        step_number: step?.number,
        step_name: step?.title,
      })
      expect(atUs, name).toBe(steps.get(step?.number ?? 0)?.endUs)
    }
    const order = root.events.map(({ attributes }) => Number(attributes['step_number']))
    const pairs = [
      ...[
        [3, 4],
        [4, 10],
        [10, 6],
        [6, 11],
        [11, 14],
        [15, 16],
        [14, 17],
        [16, 17],
        [16, 18],
      ],
      ...[
        [17, 19],
        [18, 19],
        [19, 20],
        [20, 21],
        [12, 21],
      ],
    ] as const
    for (const [before = 0, after = 0] of pairs)
      expect(order.indexOf(before), `step ${before} before ${after}`).toBeLessThan(order.indexOf(after))
    for (const inner of [7, 8, 9, 10]) {
      expect(steps.get(inner)?.startUs).toBeGreaterThanOrEqual(steps.get(6)?.startUs ?? Number.POSITIVE_INFINITY)
      expect(steps.get(inner)?.endUs).toBeLessThanOrEqual(steps.get(6)?.endUs ?? 0)
    }
  })

  test('has every attribute on every step', () => {
    for (const step of STEPS) {
      const span = wholeTrace(spans).steps.get(step.number)
      expect(span?.name).toBe(step.event)
      expect(span?.attributes).toMatchObject({
        machine_id: 'test-machine',
        step_number: step.number,
        step_name: step.title,
        phase: step.phase,
        gpu_mode: 'mock',
        workers_config: 'comfyui:auto',
      })
      expect(span?.attributes['legacy_event']).toBe(step.legacyEvent)
      expect(span?.status.code).not.toBe('error')
      expect(span?.endUs).toBeGreaterThanOrEqual(span?.startUs ?? Number.POSITIVE_INFINITY)
      expect(span?.resource).toMatchObject({
        'service.name': 'comfy-machine',
        'service.version': expect.stringMatching(/^\d/) as string,
        'host.name': expect.stringMatching(/^trace-/) as string,
        'host.id': expect.stringMatching(/\w/) as string,
        'os.type': 'linux',
      })
    }
  })

  test("has systemd's own times and ids of every unit", async () => {
    for (const [number, unit] of Object.entries(UNIT_OF_STEP)) {
      const span = wholeTrace(spans).steps.get(Number(number))
      const id = await invocationOf(host, unit)
      expect(span?.attributes).toMatchObject({
        'systemd.unit': unit,
        'systemd.invocation_id': id,
        'systemd.result': 'success',
      })
      expect(span?.spanId, unit).toBe(id.slice(0, 16))
      if (unit === 'comfy-machine.service') continue
      const times = await show(host, unit, 'InactiveExitTimestamp', 'ActiveEnterTimestamp')
      expect(span?.startUs, unit).toBe(toMicroseconds(times['InactiveExitTimestamp'] ?? ''))
      expect(span?.endUs, unit).toBe(toMicroseconds(times['ActiveEnterTimestamp'] ?? ''))
    }
  })

  test('has a child per GPU, with its unit and its times', async () => {
    for (const [number, name] of Object.entries(UNIT_OF_GPU_STEP)) {
      const children = childrenOf(Number(number))
      expect(children.map(({ attributes }) => attributes['gpu.index']).sort()).toEqual([0, 1])
      for (const child of children) {
        const unit = `${name}@gpu${child.attributes['gpu.index']}.service`
        expect(child.attributes).toMatchObject({ 'gpu.uuid': expect.any(String) as string, 'systemd.unit': unit })
        if (number === '13') continue
        const times = await show(host, unit, 'InactiveExitTimestamp', 'ActiveEnterTimestamp', 'InvocationID')
        expect(child.attributes).toMatchObject({
          'systemd.invocation_id': times['InvocationID'],
          'systemd.result': 'success',
        })
        expect(child.startUs, unit).toBe(toMicroseconds(times['InactiveExitTimestamp'] ?? ''))
        expect(child.endUs, unit).toBe(toMicroseconds(times['ActiveEnterTimestamp'] ?? ''))
      }
    }
  })

  test('has a child per API call, custom node and model', () => {
    const names = (number: number): readonly string[] =>
      childrenOf(number)
        .map(({ name }) => name)
        .sort()
    expect(names(16)).toEqual(['GET /custom-nodes/defaults', 'POST /workflows/dependencies'])
    const nodes = ['node-alpha', 'node-beta', 'node-fixture', 'node-gamma', 'node-recursive']
    const once = ['checkout', 'compile', 'packages', 'resolve requirements', 'venv']
    expect(names(17)).toEqual([...nodes.map((name) => `node ${name}`), ...once].sort())
    expect(names(18)).toEqual(['model ae.safetensors', 'model demo.safetensors'])
  })

  test('has the pieces of every node and of ComfyUI, and what is known of every model', async () => {
    const below = (parent: ReceivedSpan | undefined) =>
      spans.filter(({ parentSpanId }) => parentSpanId === parent?.spanId).sort((a, b) => a.startUs - b.startUs)
    expect(childrenOf(14).map(({ name }) => name)).toEqual(['fetch'])
    const invocation = await invocationOf(host, UNIT_OF_STEP[17])
    for (const node of childrenOf(17).filter(({ name }) => name.startsWith('node '))) {
      const [clone, install, ...others] = below(node)
      expect([clone?.name, install?.name, others]).toEqual(['clone', 'install', []])
      expect(node.spanId).toBe(spanIdOfWork(invocation, [node.name]))
      expect(clone?.spanId).toBe(spanIdOfWork(invocation, [node.name, 'clone']))
      expect([node.startUs, node.endUs]).toEqual([clone?.startUs, install?.endUs])
      expect(clone?.attributes).toMatchObject({
        'git.url': `http://127.0.0.1:7001/${node.name.slice('node '.length)}.git`,
        'git.commit': expect.stringMatching(/^[0-9a-f]{40}$/) as string,
        'git.mirror': 'fetched',
      })
    }
    expect(childrenOf(17).find(({ name }) => name === 'resolve requirements')?.attributes).toMatchObject({
      'resolve.nodes': expect.any(Number) as number,
      'resolve.outcome': 'together',
    })
    const demo = childrenOf(18).find(({ name }) => name === 'model demo.safetensors')
    expect(demo?.attributes).toMatchObject({
      'model.bytes': 1_048_576,
      'model.source': '127.0.0.1:7003',
      'model.resumed_bytes': 0,
      'model.mib_per_s': expect.any(Number) as number,
      'model.sha256': expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      'model.verified': true,
      'model.attempts': 1,
    })
  })

  test('is joined to the journal lines about a node and a model, both ways', async () => {
    const byId = new Map(spans.map((span) => [span.spanId, span.name]))
    const nameOf = (line: JournalLine): string | undefined => byId.get(line['SPAN_ID'] ?? '')
    const installers = [14, 16, 17, 18].map((number) => UNIT_OF_STEP[number] ?? '')
    const lines = await readJournal(host, `TRACE_ID=${trace}`, ...installers.map((unit) => `_SYSTEMD_UNIT=${unit}`))
    const nodes = lines.filter(({ COMFY_NODE }) => COMFY_NODE !== undefined)
    expect(nodes.map(nameOf)).toEqual(nodes.map(({ COMFY_NODE }) => `node ${COMFY_NODE}`))
    expect(new Set(nodes.map(nameOf)).size).toBe(5)
    const models = lines.filter(({ COMFY_MODEL }) => COMFY_MODEL !== undefined)
    expect(models.map(nameOf)).toEqual(models.map(({ COMFY_MODEL }) => `model ${COMFY_MODEL}`))
    for (const number of [14, 16, 17, 18]) {
      const own = lines.filter((line) => line['_SYSTEMD_UNIT'] === UNIT_OF_STEP[number])
      const event = STEPS[number - 1]?.event
      expect(own.length, event).toBeGreaterThan(0)
      expect(own.map(nameOf), event).toContain(event)
      expect(own.filter((line) => nameOf(line) === undefined)).toEqual([])
    }
  })

  test('of a second start is a second one', async () => {
    await stop(host)
    await startToReady(host)
    const second = await invocationOf(host)
    expect(second).not.toBe(trace)
    wholeTrace(await waitForTrace(host, second))
    wholeTrace((await readSpans(host)).filter(({ traceId }) => traceId === trace))
    expect(new Set((await readSpans(host)).map(({ traceId }) => traceId)).size).toBe(2)
  })

  test('is delivered whole after the collector was down', async () => {
    await stop(host)
    await host.must('systemctl stop fixture-otel')
    await startToReady(host)
    const id = await invocationOf(host)
    expect((await readSpans(host)).filter(({ traceId }) => traceId === id)).toEqual([])
    await host.must('systemctl start fixture-otel')
    wholeTrace(await waitForTrace(host, id, 60_000))
    const { NRestarts } = await show(host, 'comfy-machine.service', 'NRestarts')
    expect(NRestarts).toBe('0')
  })

  test('goes on after the controller was killed while a model downloads', async () => {
    await stop(host)
    await removeModel(host, 'checkpoints/demo.safetensors')
    await setFaults(host, 'models', { match: 'demo', kind: 'slow', delay_ms: 3_000 })
    await host.must('systemctl start --no-block comfy-machine')
    await host.waitFor('test "$(systemctl is-active comfy-install-models)" = activating')
    const id = await invocationOf(host)
    const models = await invocationOf(host, 'comfy-install-models.service')
    await host.must('systemctl kill --signal=KILL --kill-whom=main comfy-machine')
    await host.waitFor('systemctl is-active comfy-machine', 60_000)
    expect(await invocationOf(host)).not.toBe(id)
    expect(await invocationOf(host, 'comfy-install-models.service')).toBe(models)
    expect(await readStatus(host)).toMatchObject({ phase: 'ready', trace_id: id, failing: [] })
    wholeTrace(await waitForTrace(host, id))
    await clearFaults(host, 'models')
    await stop(host)
    expect((await readSpans(host)).filter(({ name }) => name === 'machine.startup').length).toBe(4)
  })
})
