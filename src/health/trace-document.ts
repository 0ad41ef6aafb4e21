import type { SpanRecord } from '../host/ports.ts'
import type { Attributes } from '../report.ts'
import { criticalSpans, criticalSteps } from './critical-path.ts'
import { elapsedMs, formatTime } from './format.ts'
import {
  buildTree,
  missingSteps,
  type Outcome,
  outcomeOf,
  stepNumber,
  type Trace,
  type TraceNode,
} from './trace-model.ts'
import { failingCode, failureOf, stateOf } from './trace-rows.ts'

/** A startup in the list of `comfy-machine trace --list --json`. */
export interface StartupDocument {
  readonly trace_id: string
  readonly machine_id: string
  /** ISO 8601 in UTC with microseconds, as every `…_at` here. */
  readonly started_at: string
  readonly duration_ms: number
  readonly outcome: Outcome
  readonly failing_code: string | null
}

/** The document of `comfy-machine trace --json`. */
export interface TraceDocument extends StartupDocument {
  readonly schema: 1
  /** Numbers of the steps that determined the duration, in the order of time. */
  readonly critical_path: readonly number[]
  /** Numbers of the steps that left no span. */
  readonly missing_steps: readonly number[]
  /** Depth first, the startup itself first, parts in the order in which they began. */
  readonly spans: readonly SpanDocument[]
  readonly incidents: readonly IncidentDocument[]
}

/** A span; `_us` are microseconds, since the epoch where it is a time. Attributes are in the order of their names. */
export interface SpanDocument {
  readonly span_id: string
  readonly parent_span_id: string | null
  readonly name: string
  /** 1–21; null for the startup itself. */
  readonly step_number: number | null
  readonly state: 'done' | 'skipped' | 'failed' | 'unfinished'
  readonly is_critical: boolean
  readonly started_at: string
  readonly ended_at: string
  readonly start_us: number
  readonly duration_us: number
  readonly error: string | null
  readonly attributes: Attributes
  readonly events: readonly {
    readonly name: string
    readonly at: string
    readonly at_us: number
    readonly attributes: Attributes
  }[]
  readonly links: readonly { readonly trace_id: string; readonly span_id: string }[]
}

/** A failure after step 21, which has a trace of its own. */
export interface IncidentDocument {
  readonly trace_id: string
  readonly at: string
  readonly at_us: number
  readonly unit: string
  readonly code: string | null
  readonly message: string
}

/** A startup in brief. */
export function startupDocument(trace: Trace): StartupDocument {
  const { root } = trace
  return {
    trace_id: root.traceId,
    machine_id: String(root.attributes['machine_id'] ?? ''),
    started_at: formatTime(root.startUs),
    duration_ms: elapsedMs(root.startUs, root.endUs),
    outcome: outcomeOf(trace),
    failing_code: failingCode(trace) ?? null,
  }
}

/** A startup with all its spans. */
export function traceDocument(trace: Trace): TraceDocument {
  const tree = buildTree(trace)
  const critical = criticalSpans(tree)
  const walk = ({ span, children }: TraceNode, parent: SpanRecord | undefined): SpanDocument[] => [
    spanDocument(span, parent, critical.has(span.spanId), trace),
    ...children.flatMap((child) => walk(child, span)),
  ]
  return {
    schema: 1,
    ...startupDocument(trace),
    critical_path: criticalSteps(tree).map(({ span }) => stepNumber(span)),
    missing_steps: missingSteps(trace),
    spans: walk(tree, undefined),
    incidents: trace.incidents.map(incidentDocument),
  }
}

function spanDocument(
  span: SpanRecord,
  parent: SpanRecord | undefined,
  isCritical: boolean,
  { root, isFinished }: Trace,
): SpanDocument {
  return {
    span_id: span.spanId,
    parent_span_id: parent?.spanId ?? null,
    name: span.name,
    step_number: stepNumber(span) || null,
    state: span === root && !isFinished ? 'unfinished' : stateOf(span),
    is_critical: isCritical,
    started_at: formatTime(span.startUs),
    ended_at: formatTime(span.endUs),
    start_us: span.startUs,
    duration_us: span.endUs - span.startUs,
    error: span.error ?? null,
    attributes: sorted(span.attributes),
    events: span.events.map(({ name, atUs, attributes }) => {
      return { name, at: formatTime(atUs), at_us: atUs, attributes: sorted(attributes) }
    }),
    links: span.links.map(({ traceId, spanId }) => ({ trace_id: traceId, span_id: spanId })),
  }
}

function incidentDocument(span: SpanRecord): IncidentDocument {
  const failure = failureOf(span)
  return {
    trace_id: span.traceId,
    at: formatTime(span.endUs),
    at_us: span.endUs,
    unit: String(span.attributes['systemd.unit'] ?? ''),
    code: failure?.code ?? null,
    message: failure?.message ?? '',
  }
}

function sorted(attributes: Attributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)))
}
