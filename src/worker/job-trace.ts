import type { QueuedJob } from '../host/ports.ts'
import { contextOfJob, isSampled, type TraceContext, toCarrier } from './carrier.ts'

/** The span of one job within its trace. */
export interface JobTrace {
  /** What is handed on to ComfyUI: the job's own span. */
  readonly own: TraceContext
  /** The producer's span; absent when the job begins a trace of its own. */
  readonly parentSpanId?: string
}

/** Gives a random id of so many bytes as lowercase hex, never all zero. */
export type NewId = (bytes: number) => string

/** The span of a job: below the producer's when the job came with a context, else the root of a new trace. */
export function openJobTrace(job: Pick<QueuedJob, 'data' | 'telemetry'>, newId: NewId): JobTrace {
  const producer = contextOfJob(job.data, job.telemetry)
  const spanId = newId(8)
  if (producer === undefined) return { own: { traceId: newId(16), spanId, flags: '01' } }
  // Of the flags only `sampled` is known; a flag that is not must be handed on as 0.
  const flags = isSampled(producer) ? '01' : '00'
  return { own: { ...producer, spanId, flags }, parentSpanId: producer.spanId }
}

/** The journal fields of every line about a job. */
export function jobFields(jobId: string, { own }: JobTrace): Readonly<Record<string, string>> {
  return { COMFY_JOB_ID: jobId, TRACE_ID: own.traceId, SPAN_ID: own.spanId }
}

/** A prompt's `extra_data` with the job's context in it; what a producer put there under these two names is replaced. */
export function withContext(
  extraData: Readonly<Record<string, unknown>> | undefined,
  { own }: JobTrace,
): Readonly<Record<string, unknown>> {
  const { traceparent: _parent, tracestate: _state, ...others } = extraData ?? {}
  return { ...others, ...toCarrier(own) }
}
