import { definitionOf, type ErrorCode, isErrorCode } from '../errors.ts'
import type { SpanRecord } from '../host/ports.ts'
import { FAILURE_EVENT, STEPS } from '../steps.ts'
import { criticalSpans } from './critical-path.ts'
import { elapsedMs, flat, formatDuration } from './format.ts'
import { buildTree, stepNumber, type Trace, type TraceNode } from './trace-model.ts'

/** One line of a waterfall: a span, how it stands there, and what is to be said below it. */
export interface TraceRow {
  readonly span: SpanRecord
  /** 0 for the startup, 1 for a step, 2 and more for its parts. */
  readonly depth: number
  /** 1–21 on the row of a step; 0 on others. */
  readonly number: number
  readonly label: string
  readonly state: 'done' | 'skipped' | 'failed'
  readonly isCritical: boolean
  readonly notes: readonly TraceNote[]
}

/** What is said below a row: a failed attempt that was repeated, the failure the span ended with, what to do. */
export interface TraceNote {
  readonly kind: 'attempt' | 'failure' | 'hint'
  readonly text: string
}

/** A failure as a span tells it. */
export interface SpanFailure {
  readonly code: ErrorCode | undefined
  readonly message: string
  readonly hint: string
}

type SpanEvent = SpanRecord['events'][number]

/** The rows of a startup from top to bottom, the startup itself first. */
export function traceRows(trace: Trace): readonly TraceRow[] {
  const tree = buildTree(trace)
  const critical = criticalSpans(tree)
  const walk = (node: TraceNode, depth: number, above: SpanRecord | undefined): TraceRow[] => {
    const { span } = node
    const row: TraceRow = {
      span,
      depth,
      number: depth === 1 ? stepNumber(span) : 0,
      label: labelOf(span, depth),
      state: stateOf(span),
      isCritical: critical.has(span.spanId),
      notes: depth === 0 ? [] : notesOf(node, above),
    }
    const inner = depth === 0 ? undefined : span
    return [row, ...node.children.flatMap((child) => walk(child, depth + 1, inner))]
  }
  return walk(tree, 0, undefined)
}

/** The state of a span: what its step says, else whether it has an error. */
export function stateOf({ attributes, error }: SpanRecord): TraceRow['state'] {
  if (error !== undefined) return 'failed'
  return attributes['step.state'] === 'skipped' ? 'skipped' : 'done'
}

/** The failure a span ended with: its last failure event, else what its error text says; undefined for one that did not fail. */
export function failureOf(span: SpanRecord): SpanFailure | undefined {
  if (span.error === undefined) return undefined
  const last = span.events.findLast(isFailure)
  if (last !== undefined) return describe(last)
  const [, code = '', message = ''] = /^(CM\d{4}): (.*)$/s.exec(span.error) ?? []
  if (!isErrorCode(code)) return { code: undefined, message: flat(span.error), hint: '' }
  return { code, message: flat(message), hint: definitionOf(code).hint }
}

/** Code of the failure that a startup ended with, of its last step that failed; undefined where none did. */
export function failingCode({ root, spans }: Trace): ErrorCode | undefined {
  if (root.error === undefined) return undefined
  const named = failureOf(root)?.code
  const steps = spans.filter((span) => span.parentSpanId === root.spanId && span.error !== undefined)
  return named ?? steps.map((span) => failureOf(span)?.code).findLast((code) => code !== undefined)
}

function notesOf({ span, children }: TraceNode, above: SpanRecord | undefined): readonly TraceNote[] {
  const told = new Set(children.flatMap((child) => child.span.events.filter(isFailure).map(keyOf)))
  const events = span.events.filter(isFailure)
  // The last one is what the span failed with; one that a part of the span tells is told there.
  const repeated = (span.error === undefined ? events : events.slice(0, -1)).filter((each) => !told.has(keyOf(each)))
  const attempts = repeated.map((event): TraceNote => ({ kind: 'attempt', text: attemptText(event, span) }))
  const failure = failureOf(span)
  if (failure === undefined || isSame(failure, above)) return attempts
  const text = failure.code === undefined ? failure.message : `${failure.code} ${failure.message}`
  const hint: readonly TraceNote[] = failure.hint === '' ? [] : [{ kind: 'hint', text: failure.hint }]
  return [...attempts, { kind: 'failure', text }, ...hint]
}

function isSame(failure: SpanFailure, above: SpanRecord | undefined): boolean {
  const other = above === undefined ? undefined : failureOf(above)
  return other !== undefined && other.code === failure.code && other.message === failure.message
}

function attemptText(event: SpanEvent, span: SpanRecord): string {
  const { code, message } = describe(event)
  const attempt = String(event.attributes['retry_attempt'] ?? '?')
  const at = formatDuration(elapsedMs(span.startUs, event.atUs))
  return flat(`attempt ${attempt} failed after ${at}: ${code ?? ''} ${message}`)
}

function describe({ attributes }: SpanEvent): SpanFailure {
  const code = String(attributes['error_code'] ?? '')
  const message = flat(String(attributes['error_message'] ?? ''))
  const known = isErrorCode(code) ? code : undefined
  const hint = attributes['hint'] ?? (known === undefined ? '' : definitionOf(known).hint)
  return { code: known, message, hint: flat(String(hint)) }
}

function isFailure(event: SpanEvent): boolean {
  return event.name === FAILURE_EVENT
}

function keyOf({ atUs, attributes }: SpanEvent): string {
  return `${atUs}/${attributes['unit']}/${attributes['retry_attempt']}`
}

function labelOf({ name, attributes }: SpanRecord, depth: number): string {
  if (depth < 2) return flat(String(attributes['step_name'] ?? name)) || 'unnamed'
  const event = STEPS.find((step) => name.startsWith(`${step.event} `))?.event
  return flat(event === undefined ? name : name.slice(event.length)) || 'unnamed'
}
