/** A duration of microseconds for people: `340 µs`, `12 ms`, `4.2 s`, `3 min 20 s`, `1 h 5 min`. */
export function formatDuration(us: number): string {
  if (us < 999.5) return `${Math.max(0, Math.round(us))} µs`
  if (us < 999_500) return `${Math.round(us / 1_000)} ms`
  if (us < 59_950_000) return `${(us / 1_000_000).toFixed(1)} s`
  const seconds = Math.round(us / 1_000_000)
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  const minutes = Math.round(seconds / 60)
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
