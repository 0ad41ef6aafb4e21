import type { SpanRecord } from '../host/ports.ts'
import { cut, elapsedMs, flat, formatDuration, formatTime } from './format.ts'
import type { TextStyle } from './text.ts'
import { missingSteps, outcomeOf, type Trace } from './trace-model.ts'
import { failingCode, failureOf, type TraceRow, traceRows } from './trace-rows.ts'

const WIDTH = 120
const TIME_WIDTH = 12
const NAME_WIDTH = { least: 24, most: 44 }
const LEAST_BAR = 10
const USUAL_BAR = 20
/** Two times, and the mark with a space on each side. */
const FIXED_WIDTH = 2 * TIME_WIDTH + 3

/** Notes are wrapped by the terminal and not cut to its width: their end may be what counts. */
const LONGEST_NOTE = 500

const RED = '31'
const BOLD = '1'
const DIM = '2'

/** A startup as lines: a tree of spans, each with its begin, duration and bar, what failed below its row, and what happened after it. */
export function waterfallLines(trace: Trace, style: TextStyle): readonly string[] {
  return [
    ...headLines(trace),
    ...traceRows(trace).flatMap((row) => rowLines(row, trace.root, style)),
    ...incidentLines(trace),
    '',
    '* determined how long the startup took   ! failed   - skipped',
  ]
}

/** The startups on record, one line each: what `--last` calls it, trace id, begin, duration, outcome, failing code. */
export function startupLines(startups: readonly Trace[]): readonly string[] {
  return startups.map((trace, index) => {
    const { root } = trace
    const took = formatDuration(elapsedMs(root.startUs, root.endUs)).padStart(TIME_WIDTH)
    const number = String(index + 1).padStart(3)
    const outcome = outcomeOf(trace).padEnd('unfinished'.length)
    const code = failingCode(trace) ?? ''
    return `${number}  ${flat(root.traceId)}  ${formatTime(root.startUs)}${took}  ${outcome}  ${code}`.trimEnd()
  })
}

function headLines(trace: Trace): readonly string[] {
  const { root, isFinished } = trace
  const took = formatDuration(elapsedMs(root.startUs, root.endUs))
  const missing = isFinished ? [] : missingSteps(trace)
  return [
    `trace ${flat(root.traceId)}  ${formatTime(root.startUs)}  ${took}  ${outcomeOf(trace)}`,
    ...root.links.map((link) => `follows trace ${flat(link.traceId)}`),
    ...(root.error === undefined ? [] : [`failed: ${flat(root.error)}`]),
    ...(missing.length === 0 ? [] : [`not on record yet: step ${missing.join(', ')}`]),
  ]
}

function rowLines(row: TraceRow, root: SpanRecord, style: TextStyle): readonly string[] {
  const { span, depth, state } = row
  const columns = style.columns ?? WIDTH
  const nameWidth = clamp(columns - FIXED_WIDTH - USUAL_BAR, NAME_WIDTH.least, NAME_WIDTH.most)
  const barWidth = Math.max(LEAST_BAR, columns - FIXED_WIDTH - nameWidth)
  const number = row.number === 0 ? '' : `${String(row.number).padStart(2)} `
  const name = cut(`${'  '.repeat(depth)}${number}${row.label}`, nameWidth).padEnd(nameWidth)
  const begin = `+${formatDuration(elapsedMs(root.startUs, span.startUs))}`.padStart(TIME_WIDTH)
  const took = state === 'skipped' ? 'skipped' : formatDuration(elapsedMs(span.startUs, span.endUs))
  const bar = state === 'skipped' ? '' : barOf(span, root, barWidth)
  const line = `${name}${begin}${took.padStart(TIME_WIDTH)} ${markOf(row)} ${bar}`.trimEnd()
  const indent = '  '.repeat(depth + 1) + ' '.repeat(number.length)
  const notes = row.notes.map(({ kind, text }) =>
    cut(`${indent}${kind === 'hint' ? 'hint: ' : ''}${text}`, LONGEST_NOTE),
  )
  return [paint(line, colourOf(row), style), ...notes.map((note) => paint(note, RED, style))]
}

function incidentLines({ incidents }: Trace): readonly string[] {
  if (incidents.length === 0) return []
  const lines = incidents.map((span) => {
    const { code = '', message = '' } = failureOf(span) ?? {}
    const unit = flat(String(span.attributes['systemd.unit'] ?? ''))
    return `  ${formatTime(span.endUs)}  ${unit}  ${`${code} ${message}`.trim()}`
  })
  return ['', 'after the startup:', ...lines]
}

function markOf({ state, isCritical }: TraceRow): string {
  if (state === 'failed') return '!'
  if (state === 'skipped') return '-'
  return isCritical ? '*' : ' '
}

function colourOf({ state, isCritical }: TraceRow): string | undefined {
  if (state === 'failed') return RED
  if (state === 'skipped') return DIM
  return isCritical ? BOLD : undefined
}

function paint(line: string, sgr: string | undefined, { colour }: TextStyle): string {
  return colour && sgr !== undefined ? `\u001b[${sgr}m${line}\u001b[0m` : line
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
