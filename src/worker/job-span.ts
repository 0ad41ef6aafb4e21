import type { SpanRecord } from '../host/ports.ts'
import type { Attributes } from '../report.ts'
import { JOB_NODE_EVENT } from '../steps.ts'
import { isSampled } from './carrier.ts'
import type { NodeTime } from './execution-times.ts'
import type { JobAccount } from './job-account.ts'

/** What the spans of all jobs of one worker have in common. */
export interface SpanOrigin {
  /** The worker and its GPU, e.g. `machine_id`, `worker.id`, `gpu.index`, `gpu.uuid`. */
  readonly attributes: Attributes
  readonly resource: Attributes
  /** The root span of the startup that brought this worker up. */
  readonly startup: { readonly traceId: string; readonly spanId: string }
}

/**
 * The span of a job, `process <queue>` of kind consumer, with the attributes of OpenTelemetry's messaging conventions;
 * undefined when the producer did not sample its trace, as OpenTelemetry's default sampler has it.
 */
export function toJobSpan(account: JobAccount, origin: SpanOrigin): SpanRecord | undefined {
  const { trace, queue, startUs, endUs, outcome } = account
  if (!isSampled(trace.own)) return undefined
  return {
    traceId: trace.own.traceId,
    spanId: trace.own.spanId,
    ...(trace.parentSpanId === undefined ? {} : { parentSpanId: trace.parentSpanId }),
    name: `process ${queue}`,
    kind: 'consumer',
    startUs,
    endUs,
    attributes: { ...origin.attributes, ...messagingAttributes(account), ...jobAttributes(account) },
    events: account.execution.nodes.map((node) => nodeEvent(node, account)),
    links: [origin.startup],
    ...(outcome.kind === 'failed' ? { error: outcome.message } : {}),
    resource: origin.resource,
  }
}

function messagingAttributes({ queue, jobId }: JobAccount): Attributes {
  return {
    'messaging.system': 'bullmq',
    'messaging.operation.name': 'process',
    'messaging.operation.type': 'process',
    'messaging.destination.name': queue,
    'messaging.message.id': jobId,
  }
}

function jobAttributes(account: JobAccount): Attributes {
  const { attempt, outcome, reason, promptId, execution, outputs, outputBytes } = account
  const { startUs, endUs } = execution
  return {
    'job.attempt': attempt,
    'job.outcome': outcome.kind,
    ...(reason === undefined ? {} : { 'error.type': reason }),
    ...(promptId === undefined ? {} : { 'comfyui.prompt_id': promptId }),
    ...(startUs === undefined || endUs === undefined ? {} : { 'comfyui.execution_ms': (endUs - startUs) / 1000 }),
    'comfyui.nodes_executed': execution.nodes.length,
    'comfyui.nodes_cached': execution.cachedNodes,
    'job.outputs': outputs,
    'job.output_bytes': outputBytes,
  }
}

function nodeEvent({ id, startUs, endUs }: NodeTime, { nodeTypes }: JobAccount): SpanRecord['events'][number] {
  const type = nodeTypes[id]
  const attributes = {
    'comfyui.node.id': id,
    ...(type === undefined ? {} : { 'comfyui.node.type': type }),
    ...(endUs === undefined ? {} : { duration_ms: (endUs - startUs) / 1000 }),
  }
  return { name: JOB_NODE_EVENT, atUs: startUs, attributes }
}
