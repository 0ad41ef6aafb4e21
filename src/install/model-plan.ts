import type { WantedModel } from './components.ts'

/** What was found of a model's file when it was last read whole; `sha256` null when nobody asked for it. */
export interface VerifiedFile {
  readonly bytes: number
  readonly mtimeMs: number
  readonly sha256: string | null
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

/** Progress for people: `3/32 models, 41.2/181 GB, 212 MB/s`. */
export function renderProgress(state: {
  readonly done: number
  readonly models: number
  readonly bytes: number
  readonly totalBytes: number
  readonly bytesPerSecond: number
}): string {
  const total = Math.max(state.totalBytes, state.bytes)
  const unit = total >= 1e9 ? { name: 'GB', size: 1e9 } : { name: 'MB', size: 1e6 }
  const show = (bytes: number): string => {
    const value = bytes / unit.size
    return value >= 100 ? value.toFixed(0) : value.toFixed(1)
  }
  const rate = Math.round(state.bytesPerSecond / 1e6)
  return `${state.done}/${state.models} models, ${show(state.bytes)}/${show(total)} ${unit.name}, ${rate} MB/s`
}
