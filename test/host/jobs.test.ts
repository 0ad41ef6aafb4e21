import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ReceivedSpan, readSpans } from '../fixtures/spans.ts'
import type { Host } from './host.ts'
import { bootMachine, configure, get, invocationOf, readJournal, startToReady, stop } from './machine.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'
const CARRIER = `TRACEPARENT=00-${TRACE}-${PARENT}-01 TRACESTATE=shop=cart`
const METRICS_FILE = '/var/log/otel/metrics.json'
const PUSHED = { OTEL_METRICS_EXPORTER: 'otlp', OTEL_METRIC_EXPORT_INTERVAL: '1000' }

const image = { class_type: 'EmptyImage', inputs: { width: 64, height: 64, batch_size: 1, color: 255 } }
const WORKFLOW = {
  '1': image,
  '2': { class_type: 'FixtureSleep', inputs: { image: ['1', 0], seconds: 0.3 } },
  '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'test' } },
}
const FAILING = {
  '1': image,
  '2': { class_type: 'FixtureFail', inputs: { image: ['1', 0], message: 'out of paint' } },
  '3': { class_type: 'SaveImage', inputs: { images: ['2', 0], filename_prefix: 'test' } },
}

type History = Readonly<Record<string, { readonly prompt: readonly unknown[] }>>

/** The sum of a family's samples that carry a text among their labels. */
function sumOf(text: string, family: string, label = ''): number {
  const lines = text.split('\n').filter((line) => line.startsWith(`${family}{`) && line.includes(label))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

// One machine goes through these in this order.
describe('the jobs of a machine', () => {
  let host: Host

  beforeAll(async () => {
    host = await bootMachine('jobs', PUSHED)
    await startToReady(host)
    await host.write('/root/job.json', JSON.stringify(WORKFLOW))
    await host.write('/root/failing.json', JSON.stringify(FAILING))
  })

  afterAll(async () => {
    await host.stop()
  })

  const jobSpans = async (): Promise<readonly ReceivedSpan[]> =>
    (await readSpans(host)).filter(({ name }) => name === 'process comfyui')
  const spanOf = async (fits: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan> => {
    await expect.poll(async () => (await jobSpans()).some(fits), { timeout: 60_000, interval: 500 }).toBe(true)
    const span = (await jobSpans()).find(fits)
    if (span === undefined) throw new Error('there is no such span')
    return span
  }
  const histories = async (): Promise<History> => {
    const texts = await Promise.all([8188, 8189].map((port) => host.must(`curl -s http://127.0.0.1:${port}/history`)))
    return Object.assign({}, ...texts.map((text) => JSON.parse(text) as History)) as History
  }

  test("go on with their producer's trace, through the worker into ComfyUI", async () => {
    const { code, stdout } = await host.exec(`${CARRIER} comfy-machine submit --wait /root/job.json`)
    expect(stdout).toContain(`, trace ${TRACE}`)
    expect(code).toBe(0)
    const span = await spanOf(({ traceId }) => traceId === TRACE)
    expect(span).toMatchObject({ parentSpanId: PARENT, kind: 'consumer', status: { code: 'unset' } })
    expect(span.attributes).toMatchObject({
      'messaging.system': 'bullmq',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'comfyui',
      machine_id: 'test-machine',
      'worker.id': expect.stringMatching(/^test-machine-worker-comfyui-\d$/) as string,
      'gpu.uuid': expect.stringMatching(/^MOCK-\d$/) as string,
      'job.attempt': 1,
      'job.outcome': 'completed',
      'job.outputs': 1,
      'job.output_bytes': expect.any(Number) as number,
    })
    // Between the arrivals of two messages, of which the first may be late: not quite the 300 ms that the node sleeps.
    expect(span.attributes['comfyui.execution_ms']).toBeGreaterThan(290)
    expect((span.endUs - span.startUs) / 1000).toBeGreaterThan(Number(span.attributes['comfyui.execution_ms']))
    const sleeping = span.events.find(({ attributes }) => attributes['comfyui.node.type'] === 'FixtureSleep')
    expect(sleeping?.attributes['duration_ms']).toBeGreaterThan(290)

    const prompt = (await histories())[String(span.attributes['comfyui.prompt_id'])]?.prompt
    expect(prompt?.[3]).toMatchObject({ traceparent: `00-${TRACE}-${span.spanId}-01`, tracestate: 'shop=cart' })

    const [line] = await readJournal(host, `TRACE_ID=${TRACE}`, `SPAN_ID=${span.spanId}`, '-g', 'completed')
    expect(line).toMatchObject({ COMFY_JOB_ID: span.attributes['messaging.message.id'] })
  })

  test('are linked to the startup of their machine', async () => {
    const startup = await invocationOf(host)
    const root = (await readSpans(host)).find(({ name, traceId }) => name === 'machine.startup' && traceId === startup)
    expect(root).toBeDefined()
    const span = await spanOf(({ traceId }) => traceId === TRACE)
    expect(span.links).toMatchObject([{ traceId: startup, spanId: root?.spanId }])
    expect(span.resource).toEqual(root?.resource)
  })

  test('begin a trace of their own without a producer, and end as errors with what went wrong', async () => {
    const { code, stdout } = await host.exec('comfy-machine submit --wait /root/failing.json')
    expect(code).toBe(1)
    expect(stdout).toContain('out of paint')
    const span = await spanOf(({ status }) => status.code === 'error')
    expect(span.parentSpanId).toBe('')
    expect(span.traceId).not.toBe(await invocationOf(host))
    expect(span.status.message).toContain('out of paint')
    expect(span.attributes).toMatchObject({ 'job.outcome': 'failed', 'error.type': 'error' })
  })

  test('are counted on /metrics', async () => {
    const metrics = async (): Promise<string> => (await get(host, '/metrics')).body
    await expect
      .poll(async () => sumOf(await metrics(), 'comfy_machine_jobs_total', 'outcome="failed"'), { timeout: 5_000 })
      .toBe(1)
    const text = await metrics()
    expect(sumOf(text, 'comfy_machine_jobs_total', 'outcome="completed"')).toBe(1)
    expect(sumOf(text, 'comfy_machine_job_duration_seconds_count')).toBe(2)
    expect(sumOf(text, 'comfy_machine_job_duration_seconds_bucket', 'le="+Inf"')).toBe(2)
    expect(sumOf(text, 'comfy_machine_job_duration_seconds_sum')).toBeGreaterThan(0.3)
    expect(sumOf(text, 'comfy_machine_job_output_bytes_total')).toBeGreaterThan(50)
    expect(text).toMatch(/^comfy_machine_telemetry_spool_bytes [1-9]/m)
    expect(text).toMatch(/^comfy_machine_telemetry_delivered_spans_total [1-9]/m)
    expect(text).toMatch(/^comfy_machine_telemetry_lost_spans_total 0$/m)
  })

  test('are counted over OTLP, where that is asked for, with the names of /metrics', async () => {
    const pushed = async (): Promise<string> => (await host.exec(['tail', '-n', '1', METRICS_FILE])).stdout
    await expect.poll(pushed, { timeout: 30_000 }).toMatch(/"comfy_machine_jobs_total".*"outcome"/)
    const text = await pushed()
    const shown = (await get(host, '/metrics')).body.matchAll(/^# TYPE (\S+)/gm)
    for (const [, name] of shown) expect(text).toContain(`"name":"${name}"`)
    expect(text).toContain('"stringValue":"test-machine"')
    expect(text).toMatch(/"explicitBounds":\[0\.05,/)
  })

  test('are counted nowhere else when the machine is stopped, and nothing pushes when nobody asks', async () => {
    await stop(host)
    expect((await host.exec('systemctl is-active comfy-metrics.timer')).code).not.toBe(0)
    await configure(host)
    await startToReady(host)
    const units = await host.exec('systemctl list-unit-files --no-legend "comfy-metrics*"')
    expect(units.stdout.trim()).toBe('')
    expect(await host.must('systemctl show -P LoadState comfy-metrics.timer')).toBe('not-found\n')
  })
})
