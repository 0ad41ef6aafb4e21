const SECOND = 1_000_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Distances between ticks that people read easily, in microseconds. */
const ROUND: readonly number[] = [
  ...[1, 10, 100, 1_000, 10_000, 100_000].flatMap((us) => [us, 2 * us, 5 * us]),
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
  ...[1, 2, 5, 10, 20, 50, 100].map((days) => days * DAY),
]

/** A place on a time axis: microseconds from its begin, and the text there. */
export interface Tick {
  readonly atUs: number
  readonly label: string
}

/** Round times from 0 to `totalUs`, both included where they are round; at most `most` + 1 of them. */
export function roundTicks(totalUs: number, most: number): readonly Tick[] {
  const stepUs = ROUND.find((us) => totalUs / us <= most) ?? Math.ceil(totalUs / most / DAY) * DAY
  const count = Math.floor(totalUs / stepUs) + 1
  return Array.from({ length: count }, (_, index) => ({ atUs: index * stepUs, label: tickLabel(index * stepUs) }))
}

function tickLabel(us: number): string {
  if (us === 0) return '0'
  if (us < 1_000) return `${us} µs`
  if (us < SECOND) return `${us / 1_000} ms`
  if (us < MINUTE) return `${us / SECOND} s`
  if (us < HOUR) return both(us, MINUTE, 'min', SECOND, 's')
  return us < DAY ? both(us, HOUR, 'h', MINUTE, 'min') : both(us, DAY, 'd', HOUR, 'h')
}

function both(us: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = (us % large) / small
  return `${Math.floor(us / large)} ${largeName}${rest === 0 ? '' : ` ${rest} ${smallName}`}`
}
