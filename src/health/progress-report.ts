import type { LaterModelsState } from '../observe/state.ts'
import type { FileProgress, Progress } from '../report.ts'
import { formatTime } from './format.ts'

/** How far something is, as `/status` and `/events` show it; what nobody knows is null. */
export function progressReport(progress: Progress): Readonly<Record<string, unknown>> {
  return {
    done: progress.done,
    total: progress.total,
    ...sizesReport(progress),
    current: progress.current,
    files: (progress.files ?? []).map((file) => ({ name: file.name, ...sizesReport(file) })),
  }
}

function sizesReport(sizes: Partial<FileProgress>): Readonly<Record<string, number | null>> {
  return {
    bytes: sizes.bytes ?? null,
    total_bytes: sizes.totalBytes ?? null,
    bytes_per_second: sizes.bytesPerSecond ?? null,
    remaining_ms: sizes.remainingMs ?? null,
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
