import { formatDuration } from './duration.ts'

/** Bytes a second for people, e.g. `212 MB/s`. */
export function renderRate(bytesPerSecond: number): string {
  if (bytesPerSecond < 95_000) return `${Math.round(bytesPerSecond / 1e3)} kB/s`
  return `${(bytesPerSecond / 1e6).toFixed(bytesPerSecond < 9.95e6 ? 1 : 0)} MB/s`
}

/** Time left for people, e.g. `11 min`: whole seconds below ten minutes, whole minutes above, because an estimate is not worth more. */
export function renderRemaining(ms: number): string {
  const unitUs = ms < 600_000 ? 1e6 : 60e6
  const us = Math.max(1, Math.round((ms * 1000) / unitUs)) * unitUs
  return formatDuration(us).replace(/ 0 (s|min)$|\.0(?= s$)/, '')
}
