import type { SpanRecord } from '../host/ports.ts'
import { INCIDENT_SPAN, STARTUP_SPAN, STEPS } from '../steps.ts'

/** How a startup ended; `unfinished`: its root span is not on record, it still runs or was broken off. */
export type Outcome = 'ready' | 'failed' | 'stopped' | 'unfinished'

/** The spans of one startup. */
export interface Trace {
  /** The span of the whole startup; made from the others while `isFinished` is false. */
  readonly root: SpanRecord
  readonly isFinished: boolean
  readonly spans: readonly SpanRecord[]
  /** Failures after step 21: root spans of traces that are linked to this one, oldest first. */
  readonly incidents: readonly SpanRecord[]
}

/** A span with the spans of its parts in the order in which they began. */
export interface TraceNode {
  readonly span: SpanRecord
  readonly children: readonly TraceNode[]
}

const STEP_EVENTS: ReadonlySet<string> = new Set(STEPS.map((step) => step.event))
/** A job of a worker (OpenTelemetry messaging conventions: operation and queue), which may stand in the startup's trace. */
const JOB = /^process /

/** The startups among span records, newest first; a span that was recorded twice counts once, the later record wins. */
export function findStartups(records: readonly SpanRecord[]): readonly Trace[] {
  const all = [...new Map(records.map((span) => [`${span.traceId}/${span.spanId}`, span])).values()]
  const incidents = all.filter((span) => span.name === INCIDENT_SPAN).sort((a, b) => a.endUs - b.endUs)
  const traces = Map.groupBy(
    all.filter((span) => span.name !== INCIDENT_SPAN),
    (span) => span.traceId,
  )
  return [...traces.values()]
    .flatMap((spans) => buildTrace(spans, incidents) ?? [])
    .sort((a, b) => b.root.startUs - a.root.startUs)
}

/** The startups whose trace id, or the trace id of one of whose incidents, begins with the given hex digits. */
export function matchStartups(startups: readonly Trace[], prefix: string): readonly Trace[] {
  const wanted = prefix.toLowerCase()
  const fits = ({ traceId }: SpanRecord): boolean => traceId.startsWith(wanted)
  const own = startups.filter(({ root }) => fits(root))
  return own.length > 0 ? own : startups.filter(({ incidents }) => incidents.some(fits))
}

/** How the startup ended. */
export function outcomeOf({ root, isFinished }: Trace): Outcome {
  if (!isFinished) return 'unfinished'
  if (root.error === undefined) return 'ready'
  return root.attributes['phase'] === 'stopped' ? 'stopped' : 'failed'
}

/** Number of the step a span belongs to; 0 for the whole startup and for what belongs to none. */
export function stepNumber({ attributes }: SpanRecord): number {
  const number = attributes['step_number']
  return typeof number === 'number' ? number : 0
}

/** Numbers of the steps that left no span. */
export function missingSteps({ spans }: Trace): readonly number[] {
  const recorded = new Set(spans.filter((span) => STEP_EVENTS.has(span.name)).map(stepNumber))
  return STEPS.map((step) => step.number).filter((number) => !recorded.has(number))
}

/**
 * The spans as a tree. One whose parent is not on record hangs on its step, else on the root; jobs, and spans that belong
 * neither to a parent nor to a step, are no part of a startup and left out.
 */
export function buildTree({ root, spans }: Trace): TraceNode {
  const known = new Set([root.spanId, ...spans.map((span) => span.spanId)])
  const steps = new Map(spans.filter((span) => STEP_EVENTS.has(span.name)).map((span) => [stepNumber(span), span]))
  const parentOf = (span: SpanRecord): string | undefined => {
    const { parentSpanId } = span
    const number = stepNumber(span)
    if (parentSpanId !== undefined && known.has(parentSpanId))
      return parentSpanId === root.spanId && number === 0 ? undefined : parentSpanId
    if (number === 0) return undefined
    const step = steps.get(number)
    return step === undefined || step === span ? root.spanId : step.spanId
  }
  const parts = Map.groupBy(
    spans.filter((span) => !JOB.test(span.name)),
    parentOf,
  )
  const grow = (span: SpanRecord): TraceNode => ({
    span,
    children: (parts.get(span.spanId) ?? []).sort(byBegin).map(grow),
  })
  return grow(root)
}

function buildTrace(all: readonly SpanRecord[], incidents: readonly SpanRecord[]): Trace | undefined {
  const recorded = all.findLast((span) => span.name === STARTUP_SPAN)
  const root = recorded ?? provisionalRoot(all)
  if (root === undefined) return undefined
  const isLinked = (span: SpanRecord): boolean => span.links.some((link) => link.traceId === root.traceId)
  return {
    root,
    isFinished: recorded !== undefined,
    spans: all.filter((span) => span.name !== STARTUP_SPAN),
    incidents: incidents.filter(isLinked),
  }
}

// A startup that still runs, or that a power cut ended, has its steps on record and no root yet.
function provisionalRoot(all: readonly SpanRecord[]): SpanRecord | undefined {
  const steps = all.filter((span) => STEP_EVENTS.has(span.name))
  const last = steps.at(-1)
  if (last === undefined) return undefined
  const own = all.filter((span) => stepNumber(span) > 0)
  const failed = steps.findLast((span) => span.error !== undefined)
  const { machine_id = '', gpu_mode = '', workers_config = '' } = last.attributes
  return {
    traceId: last.traceId,
    spanId: last.parentSpanId ?? 'unfinished',
    name: STARTUP_SPAN,
    startUs: own.reduce((least, span) => Math.min(least, span.startUs), last.startUs),
    endUs: own.reduce((most, span) => Math.max(most, span.endUs), last.endUs),
    attributes: { machine_id, gpu_mode, workers_config, step_number: 0, step_name: 'Startup', phase: 'starting' },
    events: [],
    links: [],
    ...(failed?.error === undefined ? {} : { error: failed.error }),
    resource: last.resource,
  }
}

// GPUs that began together stay in the order of the record, which is that of their numbers.
function byBegin(a: SpanRecord, b: SpanRecord): number {
  return a.startUs - b.startUs || stepNumber(a) - stepNumber(b)
}
