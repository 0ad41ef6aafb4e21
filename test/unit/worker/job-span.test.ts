import { describe, expect, it } from 'vitest'
import type { ComfyUI } from '../../../src/host/ports.ts'
import { type SpanOrigin, toJobSpan } from '../../../src/worker/job-span.ts'
import { processJob } from '../../../src/worker/process-job.ts'
import { fakeClock, fakeComfyUI, fakeJob, fakeJournal, fakeSocket, fakeTrace } from './fakes.ts'

const PARENT = 'b'.repeat(16)
const ORIGIN: SpanOrigin = {
  attributes: { machine_id: 'm', 'worker.id': 'w', 'gpu.index': 0, 'gpu.uuid': 'MOCK-0' },
  resource: { 'service.name': 'comfy-machine' },
  startup: { traceId: 'c'.repeat(32), spanId: 'd'.repeat(16) },
}
const WORKFLOW = { '9': { class_type: 'SaveImage', inputs: {} } }
const FINISHED = { outputs: { '9': { images: [{ filename: 'a.png', subfolder: '', type: 'output' }] } } }

async function spanOf(data: Readonly<Record<string, unknown>>, known: Partial<ComfyUI> = {}) {
  const submitted: unknown[] = []
  const socket = fakeSocket()
  const journal = fakeJournal()
  const comfyui = fakeComfyUI({
    async submit(_prompt, _client, extraData) {
      submitted.push(extraData)
      socket.say('execution_start', {})
      socket.say('executing', { node: '9' })
      socket.say('executing', { node: null })
      return { kind: 'queued', promptId: 'p1' }
    },
    history: async () => FINISHED,
    ...known,
  })
  const ports = { clock: fakeClock(), journal, socket, clientId: 'w', comfyui, pendingModels: async () => [] }
  const account = await processJob(ports, fakeJob(data), fakeTrace(data), new AbortController().signal)
  return { span: toJobSpan(account, ORIGIN), account, submitted, journal }
}

describe('the span of a job', () => {
  const traceparent = `00-${'a'.repeat(32)}-${PARENT}-01`

  it("is a consumer's, below the producer, linked to the startup, with what came of the job", async () => {
    const { span, account } = await spanOf({ workflow: WORKFLOW, traceparent })
    expect(span).toMatchObject({
      traceId: 'a'.repeat(32),
      parentSpanId: PARENT,
      name: 'process comfyui',
      kind: 'consumer',
      links: [ORIGIN.startup],
      resource: ORIGIN.resource,
      events: [{ name: 'comfyui.node', attributes: { 'comfyui.node.id': '9', 'comfyui.node.type': 'SaveImage' } }],
    })
    expect(span?.attributes).toMatchObject({
      ...ORIGIN.attributes,
      'messaging.system': 'bullmq',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': 'comfyui',
      'messaging.message.id': '7',
      'comfyui.prompt_id': 'p1',
      'comfyui.execution_ms': expect.any(Number) as number,
      'comfyui.nodes_executed': 1,
      'job.attempt': 1,
      'job.outcome': 'completed',
      'job.outputs': 1,
      'job.output_bytes': 3,
    })
    expect(span?.error).toBeUndefined()
    expect(span?.endUs).toBe(account.endUs)
    expect(account.outcome).toMatchObject({ value: { trace_id: 'a'.repeat(32) } })
  })

  it('is handed on to ComfyUI and stands in the journal', async () => {
    const { span, submitted, journal } = await spanOf({
      workflow: WORKFLOW,
      traceparent,
      tracestate: 'v=1',
      extra_data: { extra_pnginfo: {} },
    })
    const handedOn = `00-${span?.traceId}-${span?.spanId}-01`
    expect(submitted).toEqual([{ extra_pnginfo: {}, traceparent: handedOn, tracestate: 'v=1' }])
    const ids = { TRACE_ID: span?.traceId, SPAN_ID: span?.spanId, COMFY_JOB_ID: '7' }
    expect(journal.entries.at(-1)?.fields).toMatchObject(ids)
  })

  it('is a root when there is no producer', async () => {
    const { span } = await spanOf({ workflow: WORKFLOW })
    expect(span).toBeDefined()
    expect(span).not.toHaveProperty('parentSpanId')
  })

  it('is an error with the message when the job failed', async () => {
    const refused = await spanOf(
      { workflow: WORKFLOW },
      { submit: async () => ({ kind: 'refused', status: 400, body: { error: 'no' } }) },
    )
    expect(refused.span).toMatchObject({
      error: 'ComfyUI refused the workflow: no',
      attributes: { 'job.outcome': 'failed', 'error.type': 'refused', 'job.outputs': 0 },
    })
    expect(refused.span?.attributes).not.toHaveProperty('comfyui.prompt_id')
    const { span } = await spanOf({ workflow: WORKFLOW }, { view: () => Promise.reject(new Error('gone')) })
    expect(span).toMatchObject({ error: 'gone', attributes: { 'error.type': 'internal', 'comfyui.prompt_id': 'p1' } })
  })

  it('is not kept when the producer did not sample it, and yet handed on', async () => {
    const { span, account, submitted } = await spanOf({
      workflow: WORKFLOW,
      traceparent: traceparent.replace(/01$/, '00'),
    })
    expect(span).toBeUndefined()
    expect(submitted).toEqual([{ traceparent: `00-${'a'.repeat(32)}-${account.trace.own.spanId}-00` }])
  })
})
