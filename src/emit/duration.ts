/** A duration of microseconds for people: `340 µs`, `12 ms`, `4.2 s`, `3 min 20 s`, `1 h 5 min`. */
export function formatDuration(us: number): string {
  if (us < 1_000) return `${Math.max(0, Math.round(us))} µs`
  if (us < 1_000_000) return `${Math.round(us / 1_000)} ms`
  const seconds = us / 1_000_000
  if (seconds < 60) return `${seconds.toFixed(1)} s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
  return `${Math.floor(seconds / 3_600)} h ${Math.round((seconds % 3_600) / 60)} min`
}
