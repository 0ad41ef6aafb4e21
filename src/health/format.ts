import { formatDuration as formatMicroseconds } from '../emit/duration.ts'

/** A duration of milliseconds for people, as the journal has it. */
export function formatDuration(ms: number): string {
  return formatMicroseconds(ms * 1000)
}

/** A time as ISO 8601 in UTC with microseconds; `us` is microseconds since the epoch. */
export function formatTime(us: number): string {
  const seconds = Math.floor(us / 1_000_000)
  const fraction = String(Math.floor(us - seconds * 1_000_000)).padStart(6, '0')
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}Z`
}

/** Text from outside made fit for one line of a terminal: control characters become spaces. */
export function flat(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim()
}

/** The first `width` characters; the last one is … where something was cut. */
export function cut(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`
}

/** Milliseconds between two times in microseconds; never negative. */
export function elapsedMs(startUs: number, endUs: number): number {
  return Math.max(0, endUs - startUs) / 1000
}
