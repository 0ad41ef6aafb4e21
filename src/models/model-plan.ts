import { formatDuration } from '../emit/duration.ts'
import type { WantedModel } from '../install/components.ts'
import type { Progress } from '../report.ts'

/** What was found of a model's file when it was last read whole; `sha256` null when nobody asked for it. */
export interface VerifiedFile {
  readonly bytes: number
  readonly mtimeMs: number
  readonly sha256: string | null
  /**
   * sha256 of the URL it was downloaded from. A source that declares no hash is held to what it served first: another file
   * from the same URL is a mismatch.
   */
  readonly source?: string
  /** The store brought it, and may remove it when nothing wants it any more. */
  readonly brought?: true
}

/** `models.json` in the workspace: files of the models folder by relative path that need not be read again. */
export interface ModelIndex {
  readonly schema: 1
  readonly files: Readonly<Record<string, VerifiedFile>>
}

/** Name of the index in the workspace. */
export const MODEL_INDEX = 'models.json'

/** What is to be done for a model: nothing, read the file that is there and compare, or download it. */
export type ModelAction = 'keep' | 'verify' | 'download'

/** Decides over one model by its file and what is recorded of it. */
export function planModel(
  model: Pick<WantedModel, 'bytes' | 'sha256'>,
  file: { readonly bytes: number; readonly mtimeMs: number } | undefined,
  known: VerifiedFile | undefined,
): ModelAction {
  if (file === undefined) return 'download'
  if (model.bytes !== null && model.bytes !== file.bytes) return 'download'
  const unchanged = known !== undefined && known.bytes === file.bytes && known.mtimeMs === file.mtimeMs
  if (!unchanged) return 'verify'
  if (model.sha256 === null) return 'keep'
  if (known.sha256 === null) return 'verify'
  return known.sha256 === model.sha256 ? 'keep' : 'download'
}

/** Bytes that a volume must still take, from the sizes that are known. */
export function missingBytes(
  models: readonly { readonly estimatedBytes: number; readonly partBytes: number }[],
): number {
  return models.reduce((sum, { estimatedBytes, partBytes }) => sum + Math.max(0, estimatedBytes - partBytes), 0)
}

/** Progress for people: `3/32 models, 41.2/181 GB, 212 MB/s, 11 min left`. */
export function renderProgress(progress: Progress): string {
  const { done, total, bytes = 0, totalBytes, bytesPerSecond, remainingMs } = progress
  const most = totalBytes ?? bytes
  const unit = most >= 1e9 ? { name: 'GB', size: 1e9 } : { name: 'MB', size: 1e6 }
  const show = (count: number): string => {
    const value = count / unit.size
    return value >= 100 ? value.toFixed(0) : value.toFixed(1)
  }
  const size = totalBytes === undefined ? show(bytes) : `${show(bytes)}/${show(totalBytes)}`
  const rate = bytesPerSecond === undefined ? [] : [renderRate(bytesPerSecond)]
  const left = remainingMs === undefined ? [] : [`${renderRemaining(remainingMs)} left`]
  return [`${done}/${total} models`, `${size} ${unit.name}`, ...rate, ...left].join(', ')
}

function renderRate(bytesPerSecond: number): string {
  if (bytesPerSecond < 95_000) return `${Math.round(bytesPerSecond / 1e3)} kB/s`
  return `${(bytesPerSecond / 1e6).toFixed(bytesPerSecond < 9.95e6 ? 1 : 0)} MB/s`
}

/** Whole seconds below ten minutes, whole minutes above: an estimate is not worth more. */
function renderRemaining(ms: number): string {
  const unitUs = ms < 600_000 ? 1e6 : 60e6
  const us = Math.max(1, Math.round((ms * 1000) / unitUs)) * unitUs
  return formatDuration(us).replace(/ 0 (s|min)$|\.0(?= s$)/, '')
}
