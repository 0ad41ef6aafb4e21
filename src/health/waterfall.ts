import type { SpanRecord } from '../host/ports.ts'
import { STARTUP_SPAN } from '../steps.ts'
import { cut, elapsedMs, flat, formatDuration, formatTime } from './format.ts'
import type { TextStyle } from './text.ts'

/** Clock noise between the end of one step and the begin of the next that waited for it. */
const GAP_US = 2_000
/** Unit Generation. */
const ENCLOSING_STEP = 6
const NAME_WIDTH = 44
const LEAST_BAR = 10

/** The spans of one startup. */
export interface Trace {
  readonly root: SpanRecord
  readonly spans: readonly SpanRecord[]
}

/** The startups among span records, newest first; a span that was recorded twice counts once, the later record wins. */
export function findStartups(spans: readonly SpanRecord[]): readonly Trace[] {
  const byId = new Map(spans.map((span) => [`${span.traceId}/${span.spanId}`, span]))
  const all = [...byId.values()]
  return all
    .filter((span) => span.name === STARTUP_SPAN && span.parentSpanId === undefined)
    .map((root) => ({ root, spans: all.filter((span) => span.traceId === root.traceId && span !== root) }))
    .sort((a, b) => b.root.startUs - a.root.startUs)
}

/**
 * Ids of the direct children of the root that determined how long it took: backwards from the last one to end, each time the
 * one that ended last before the begin of the one found. Unit Generation is left out: it only encloses steps 7 to 10.
 */
export function criticalPath({ root, spans }: Trace): ReadonlySet<string> {
  const parts = spans
    .filter((span) => span.parentSpanId === root.spanId && span.attributes['step_number'] !== ENCLOSING_STEP)
    .sort((a, b) => b.endUs - a.endUs)
  const path = new Set<string>()
  let untilUs = Number.POSITIVE_INFINITY
  for (const step of parts) {
    if (step.endUs > untilUs) continue
    path.add(step.spanId)
    untilUs = Math.min(untilUs, step.startUs + GAP_US, step.endUs)
  }
  return path
}

/** A startup as lines: a tree of spans, each with its begin, duration and bar; `*` marks the critical path. */
export function waterfallLines(trace: Trace, style: TextStyle): readonly string[] {
  const { root } = trace
  const critical = criticalPath(trace)
  const columns = style.columns ?? 120
  const barWidth = Math.max(LEAST_BAR, columns - NAME_WIDTH - 28)
  const row = (span: SpanRecord, depth: number): string => {
    const number = Number(span.attributes['step_number'] ?? 0)
    const label = depth === 1 && number > 0 ? `${String(number).padStart(2)} ${span.name}` : span.name
    const name = cut(`${'  '.repeat(depth)}${flat(label)}`, NAME_WIDTH).padEnd(NAME_WIDTH)
    const begin = `+${formatDuration(elapsedMs(root.startUs, span.startUs))}`.padStart(12)
    const took = formatDuration(elapsedMs(span.startUs, span.endUs)).padStart(12)
    const mark = span.error !== undefined ? '!' : critical.has(span.spanId) ? '*' : ' '
    const line = `${name}${begin}${took} ${mark} ${barOf(span, root, barWidth)}`.trimEnd()
    return style.colour && span.error !== undefined ? `\u001b[31m${line}\u001b[0m` : line
  }
  return [
    `trace ${root.traceId}  ${formatTime(root.startUs)}  ${formatDuration(elapsedMs(root.startUs, root.endUs))}`,
    ...(root.error === undefined ? [] : [`failed: ${flat(root.error)}`]),
    ...treeOf(trace).map(({ span, depth }) => row(span, depth)),
    '',
    '* determined how long the startup took   ! failed',
  ]
}

function treeOf({ root, spans }: Trace): readonly { readonly span: SpanRecord; readonly depth: number }[] {
  const known = new Set([root.spanId, ...spans.map((span) => span.spanId)])
  const children = new Map<string, SpanRecord[]>()
  for (const span of spans) {
    const parent = span.parentSpanId !== undefined && known.has(span.parentSpanId) ? span.parentSpanId : root.spanId
    children.set(parent, [...(children.get(parent) ?? []), span])
  }
  const walk = (span: SpanRecord, depth: number): { span: SpanRecord; depth: number }[] => [
    { span, depth },
    ...(children.get(span.spanId) ?? []).sort(byBegin).flatMap((child) => walk(child, depth + 1)),
  ]
  return walk(root, 0)
}

function byBegin(a: SpanRecord, b: SpanRecord): number {
  return a.startUs - b.startUs || Number(a.attributes['step_number'] ?? 0) - Number(b.attributes['step_number'] ?? 0)
}

function barOf(span: SpanRecord, root: SpanRecord, width: number): string {
  const total = Math.max(1, root.endUs - root.startUs)
  const from = clamp(Math.floor(((span.startUs - root.startUs) / total) * width), 0, width - 1)
  const to = clamp(Math.ceil(((span.endUs - root.startUs) / total) * width), from + 1, width)
  return `${' '.repeat(from)}${'█'.repeat(to - from)}`
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}
