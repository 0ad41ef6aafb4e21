/** A sample of one quantity, in the unit its table names. */
export type Sample = readonly number[]

/** Median of a sample; NaN of an empty one. */
export function median(sample: Sample): number {
  const sorted = [...sample].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]]
  return low === undefined || high === undefined ? Number.NaN : (low + high) / 2
}

/** The value below which a share (0 to 1) of the sample lies, by nearest rank. */
export function quantile(sample: Sample, share: number): number {
  const sorted = [...sample].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN
}

/** Ratios pair by pair: what was measured in the same round is compared, so that a noisy minute falls on both. */
export function ratios(ours: Sample, theirs: Sample): Sample {
  return ours.map((value, index) => value / (theirs[index] ?? Number.NaN))
}

/** Sums pair by pair. */
export function sums(first: Sample, second: Sample): Sample {
  return first.map((value, index) => value + (second[index] ?? Number.NaN))
}

/** A number for a table: three significant digits, whole from 100 on. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}

/** `median (least–greatest)` of a sample. */
export function spread(sample: Sample): string {
  if (sample.length === 0) return '–'
  return `${shown(median(sample))} (${shown(Math.min(...sample))}–${shown(Math.max(...sample))})`
}

/** A table of aligned columns under a title; the first row is the head, the first column is aligned left. */
export function table(title: string, rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  const line = (row: readonly string[]): string =>
    widths
      .map((width, column) => {
        const cell = row[column] ?? ''
        return column === 0 ? cell.padEnd(width) : cell.padStart(width)
      })
      .join('  ')
      .trimEnd()
  const [head = [], ...body] = rows
  const rule = widths.map((width) => '-'.repeat(width)).join('  ')
  return ['', title, line(head), rule, ...body.map(line), ''].join('\n')
}

/** One line of the closing table: a figure beside the peer or limit it is held to. */
export interface Finding {
  readonly figure: string
  readonly ours: string
  readonly beside: string
  /** What is compared with the goal: a ratio, or the figure itself. */
  readonly value: number
  /** null: measured beside a peer without a goal. */
  readonly goal: number | null
}

/** The closing table. A goal that is not reached is said and nothing else: times depend on the machine. */
export function findingsTable(findings: readonly Finding[]): string {
  const rows = findings.map(({ figure, ours, beside, value, goal }) => [
    figure,
    ours,
    beside,
    shown(value),
    goal === null ? '–' : `≤ ${goal}`,
    goal === null ? '–' : value <= goal ? 'yes' : 'NO',
  ])
  return table('Figures and goals', [['figure', 'ours', 'peer or limit', 'compared', 'goal', 'reached'], ...rows])
}
