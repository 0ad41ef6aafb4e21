/** A duration for people: `12 ms`, `3.4 s`, `2 min 03 s`, `1 h 05 min`. */
export function formatDuration(ms: number): string {
  if (ms < 0.95) return ms <= 0 ? '0 ms' : '<1 ms'
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${pad(seconds % 60)} s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`
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

function pad(value: number): string {
  return String(value).padStart(2, '0')
}
