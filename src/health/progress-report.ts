import type { LaterModelsState } from '../observe/state.ts'
import type { Progress } from '../report.ts'
import { formatTime } from './format.ts'

/** How far something is, as `/status` and `/events` show it; what nobody knows is null. */
export function progressReport(progress: Progress): Readonly<Record<string, unknown>> {
  return {
    done: progress.done,
    total: progress.total,
    bytes: progress.bytes ?? null,
    total_bytes: progress.totalBytes ?? null,
    bytes_per_second: progress.bytesPerSecond ?? null,
    remaining_ms: progress.remainingMs ?? null,
    current: progress.current,
    files: (progress.files ?? []).map(({ name, bytes, totalBytes }) => {
      return { name, bytes, total_bytes: totalBytes ?? null }
    }),
  }
}

/** The models that are loaded after the start, as `/status` and `/events` show them. */
export function laterModelsReport(loading: LaterModelsState): Readonly<Record<string, unknown>> {
  const { unit, state, startUs, endUs, detail, progress, attributes } = loading
  return {
    unit,
    state,
    start: formatTime(startUs),
    end: endUs === undefined ? null : formatTime(endUs),
    detail: detail ?? null,
    progress: progress === undefined ? null : progressReport(progress),
    attributes,
  }
}
