import type { Progress } from '../report.ts'

const WIDEST = 40
const NARROWEST = 10
const WIDTH_IN_TEXT = 20

/** How much of the work is done, from 0 to 1: by bytes where they are counted, else by items. */
export function fractionOf({ done, total, bytes, totalBytes }: Progress): number {
  const [part, whole] = bytes !== undefined && totalBytes !== undefined ? [bytes, totalBytes] : [done, total]
  return whole > 0 ? Math.min(1, Math.max(0, part / whole)) : 0
}

/** A bar for a terminal of so many columns that leaves most of a line to words; of plain characters where there is none. */
export function barOf(fraction: number, columns?: number): string {
  if (columns === undefined) return `[${fill(fraction, WIDTH_IN_TEXT, '#', '-')}]`
  return fill(fraction, Math.min(WIDEST, Math.max(NARROWEST, Math.floor(columns / 4) - 4)), '█', '░')
}

// Full only when everything is done.
function fill(fraction: number, width: number, full: string, rest: string): string {
  const done = Math.floor(fraction * width)
  return full.repeat(done) + rest.repeat(width - done)
}
