import { FAILURE_EVENT } from '../steps.ts'
import { elapsedMs, formatDuration, formatTime } from './format.ts'
import { SVG_STYLE } from './svg-style.ts'
import { escapeXml, fitText } from './svg-text.ts'
import { roundTicks } from './time-axis.ts'
import { missingSteps, outcomeOf, type Trace } from './trace-model.ts'
import { failureOf, type TraceRow, traceRows } from './trace-rows.ts'

const WIDTH = 1200
const EDGE = 24
const NAME_X = 52
const NAME_END = 330
const TOOK_X = 408
const CHART = { x: 424, width: WIDTH - EDGE - 424 }
const INDENT = 14
const STEP_HEIGHT = 22
const PART_HEIGHT = 18
const NOTE_HEIGHT = 16
const TICKS = 8
const LEGEND_WIDTH = 140
/** A bar that would be too narrow to be seen is as wide as this; a skipped step took no time at all. */
const LEAST_BAR = { done: 2, failed: 2, skipped: 10 }
/** The axis is repeated below a chart that is taller than a screen. */
const SCREEN = 900

/** How microseconds of a startup become pixels. */
interface Scale {
  readonly startUs: number
  readonly totalUs: number
}

/** A startup as a self-contained SVG document: no script, nothing loaded, light and dark. */
export function waterfallSvg(trace: Trace): string {
  const { root } = trace
  const scale = { startUs: root.startUs, totalUs: Math.max(1, root.endUs - root.startUs) }
  const head = headOf(trace)
  const legendY = EDGE + 36 + head.lines.length * 18
  const top = legendY + 48
  const body: string[] = []
  let y = top
  for (const row of traceRows(trace)) {
    body.push(...rowOf(row, y, scale))
    y += heightOf(row) + row.notes.length * NOTE_HEIGHT
  }
  const bottom = y + 6
  const isTall = bottom - top > SCREEN
  const incidents = incidentLines(trace, bottom + (isTall ? 46 : 28))
  const height = bottom + (isTall ? 24 : 0) + (incidents.length === 0 ? 0 : incidents.length * NOTE_HEIGHT + 12) + EDGE
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" class="wf" role="img" aria-labelledby="wf-title wf-desc" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}">`,
    `<title id="wf-title">${escapeXml(head.title)}</title>`,
    `<desc id="wf-desc">${escapeXml(head.description)}</desc>`,
    `<style>${SVG_STYLE}</style>`,
    `<clipPath id="wf-names"><rect x="0" y="0" width="${NAME_END}" height="${height}"/></clipPath>`,
    `<rect class="paper" width="${WIDTH}" height="${height}"/>`,
    text('head', EDGE, EDGE + 12, fitText(head.title, WIDTH - 2 * EDGE, 19)),
    ...head.lines.map(({ kind, line }, index) =>
      text(kind, EDGE, EDGE + 34 + index * 18, fitText(line, WIDTH - 2 * EDGE, 12)),
    ),
    ...legend(legendY + 12),
    ...axis(scale, top, bottom, isTall),
    ...body,
    ...incidents,
    '</svg>',
    '',
  ].join('\n')
}

function headOf(trace: Trace): {
  readonly title: string
  readonly description: string
  readonly lines: readonly { readonly kind: string; readonly line: string }[]
} {
  const { root } = trace
  const outcome = outcomeOf(trace)
  const took = formatDuration(elapsedMs(root.startUs, root.endUs))
  const result = outcome === 'unfinished' ? `unfinished, on record for ${took}` : `${outcome} after ${took}`
  const machine = String(root.attributes['machine_id'] ?? '')
  const missing = trace.isFinished ? [] : missingSteps(trace)
  const title = `Startup of ${machine === '' ? 'a machine' : machine}: ${result}`
  return {
    title,
    description: `Waterfall of trace ${root.traceId}, begun ${formatTime(root.startUs)}. ${root.error ?? ''}`,
    lines: [
      { kind: 'soft', line: `trace ${root.traceId}, begun ${formatTime(root.startUs)}` },
      ...(root.error === undefined ? [] : [{ kind: 'bad', line: root.error }]),
      ...(missing.length === 0 ? [] : [{ kind: 'soft', line: `not on record yet: step ${missing.join(', ')}` }]),
    ],
  }
}

function legend(y: number): readonly string[] {
  const items = [
    ['path', 'critical path'],
    ['work', 'other work'],
    ['failed', 'failed'],
    ['skipped', 'skipped'],
  ] as const
  const swatches = items.map(([kind, label], index) => {
    const x = EDGE + index * LEGEND_WIDTH
    return `<g class="${kind}"><rect class="bar" x="${x + 0.5}" y="${y - 9.5}" width="22" height="10" rx="2"/>${text('soft', x + 30, y, label)}</g>`
  })
  const x = EDGE + items.length * LEGEND_WIDTH
  return [...swatches, diamond(x + 8, y - 5), text('soft', x + 20, y, 'failed attempt')]
}

function axis({ totalUs }: Scale, top: number, bottom: number, isTall: boolean): readonly string[] {
  return roundTicks(totalUs, TICKS).flatMap(({ atUs, label }) => {
    const x = round(CHART.x + (atUs / totalUs) * CHART.width)
    return [
      `<line class="grid" x1="${x}" y1="${top - 4}" x2="${x}" y2="${bottom}"/>`,
      text('tick', x, top - 9, label),
      ...(isTall ? [text('tick', x, bottom + 15, label)] : []),
    ]
  })
}

function rowOf(row: TraceRow, y: number, scale: Scale): readonly string[] {
  const { span, depth, number, state } = row
  const height = heightOf(row)
  const size = depth < 2 ? 12 : 11
  const base = y + height / 2 + 4
  const nameX = depth === 0 ? EDGE : NAME_X + Math.min(depth - 1, 6) * INDENT
  const kind = [depth === 0 ? 'all' : row.isCritical ? 'path' : 'work', state === 'done' ? '' : state].join(' ').trim()
  const took = state === 'skipped' ? 'skipped' : formatDuration(elapsedMs(span.startUs, span.endUs))
  const part = depth < 2 ? '' : ' part'
  return [
    `<g class="${kind}"><title>${escapeXml(tooltipOf(row, took, scale))}</title>`,
    ...(depth === 1 ? [`<line class="grid" x1="${EDGE}" y1="${y}" x2="${WIDTH - EDGE}" y2="${y}"/>`] : []),
    ...(number === 0 ? [] : [text('number', NAME_X - 8, base, String(number))]),
    `<g clip-path="url(#wf-names)">${text(`name${part}`, nameX, base, fitText(row.label, NAME_END - nameX - 4, size * (row.isCritical ? 1.06 : 1)))}</g>`,
    text(`took${part}`, TOOK_X, base, took),
    barOf(row, y, height, scale),
    ...span.events
      .filter((event) => event.name === FAILURE_EVENT && depth > 0)
      .map((event) => diamond(place(event.atUs, scale), y + height / 2)),
    '</g>',
    ...row.notes.map((note, index) =>
      text(
        note.kind === 'hint' ? 'hint' : 'note',
        nameX + INDENT,
        y + height + index * NOTE_HEIGHT + 11,
        fitText(note.text, WIDTH - EDGE - nameX - INDENT, 11),
      ),
    ),
  ]
}

function barOf({ span, state }: TraceRow, y: number, height: number, scale: Scale): string {
  const least = LEAST_BAR[state]
  const from = Math.min(place(span.startUs, scale), CHART.x + CHART.width - least)
  const width = round(Math.max(least, place(span.endUs, scale) - from))
  return `<rect class="bar" x="${round(from)}" y="${y + 4}" width="${width}" height="${height - 8}" rx="2"/>`
}

function incidentLines({ incidents }: Trace, y: number): readonly string[] {
  if (incidents.length === 0) return []
  const lines = incidents.map((span) => {
    const { code = '', message = '' } = failureOf(span) ?? {}
    return `${formatTime(span.endUs)}  ${String(span.attributes['systemd.unit'] ?? '')}  ${code} ${message}`
  })
  return [
    text('name', EDGE, y, 'After the startup'),
    ...lines.map((line, index) =>
      text('note', EDGE, y + (index + 1) * NOTE_HEIGHT, fitText(line, WIDTH - 2 * EDGE, 11)),
    ),
  ]
}

function tooltipOf({ span, number }: TraceRow, took: string, { startUs }: Scale): string {
  const begin = formatDuration(elapsedMs(startUs, span.startUs))
  const step = number === 0 ? '' : `step ${number}, `
  return `${step}${span.name.slice(0, 200)}: begun after ${begin}, took ${took}${span.error === undefined ? '' : `. ${span.error.slice(0, 400)}`}`
}

function heightOf({ depth }: TraceRow): number {
  return depth < 2 ? STEP_HEIGHT : PART_HEIGHT
}

function place(us: number, { startUs, totalUs }: Scale): number {
  const share = Math.min(1, Math.max(0, (us - startUs) / totalUs))
  return round(CHART.x + share * CHART.width)
}

function diamond(x: number, y: number): string {
  return `<path class="mark" d="M${x} ${y - 5}l5 5l-5 5l-5 -5z"/>`
}

function text(kind: string, x: number, y: number, content: string): string {
  return `<text class="${kind}" x="${x}" y="${y}">${escapeXml(content)}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
