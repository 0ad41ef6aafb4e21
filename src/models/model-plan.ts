import { renderRate, renderRemaining } from '../emit/rate.ts'
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

/** Size and time of change of a file. */
export type FileState = Pick<VerifiedFile, 'bytes' | 'mtimeMs'>

/**
 * What is to be done for a model: nothing, put the content that the store has in its place, read the file that is there and
 * compare, or download it.
 */
export type ModelAction = 'keep' | 'place' | 'verify' | 'download'

/** What is found of a model: its file, what is recorded of that, and the content of the wanted hash in the store. */
export interface ModelFiles {
  readonly file: FileState | undefined
  readonly known: VerifiedFile | undefined
  readonly blob: FileState | undefined
}

/** Decides over one model; `sha256` is the declared or the pinned one. */
export function planModel(
  { bytes, sha256 }: Pick<WantedModel, 'bytes' | 'sha256'>,
  { file, known, blob }: ModelFiles,
): ModelAction {
  const fits = (each: FileState): boolean => bytes === null || bytes === each.bytes
  const isUnchanged = file !== undefined && known !== undefined && isSameState(file, known)
  if (file !== undefined && fits(file) && isUnchanged && (sha256 === null || known.sha256 === sha256)) return 'keep'
  if (blob !== undefined && fits(blob) && !isDamage({ file, known, blob }, sha256)) return 'place'
  if (file === undefined || !fits(file)) return 'download'
  const isOther = isUnchanged && known.sha256 !== null && known.sha256 !== sha256
  return isOther ? 'download' : 'verify'
}

/** True when a verified file, which is the one in the store too, was changed in place: the content of the store is in doubt. */
function isDamage({ file, known, blob }: ModelFiles, sha256: string | null): boolean {
  if (file === undefined || known === undefined || blob === undefined) return false
  return known.sha256 === sha256 && !isSameState(file, known) && isSameState(file, blob)
}

/** True when nothing tells that one was changed since the other was recorded. */
export function isSameState(a: FileState, b: FileState): boolean {
  return a.bytes === b.bytes && a.mtimeMs === b.mtimeMs
}

/** Finds the file that a URL served first, by what is recorded: the entry of the model's own path comes before others. */
export function readPins(
  files: ReadonlyMap<string, VerifiedFile>,
  digest: (text: string) => string,
): (model: Pick<WantedModel, 'url' | 'path'>) => VerifiedFile | undefined {
  const bySource = new Map<string, VerifiedFile>()
  for (const file of files.values()) {
    if (file.source !== undefined && file.sha256 !== null && !bySource.has(file.source)) bySource.set(file.source, file)
  }
  return ({ url, path }) => {
    if (url === null) return undefined
    const source = digest(url)
    const own = path === null ? undefined : files.get(path)
    return own?.source === source && own.sha256 !== null ? own : bySource.get(source)
  }
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
