import { basename } from 'node:path'
import type { StoredFile } from '../host/inventory-ports.ts'
import { isReached, type Reach } from './reach.ts'
import { blobHash, isInStore, isUnchanged, partialKey, STORE, type StoreFacts, viewFolder } from './store-view.ts'

/** Why something can go: a content, a file that ComfyUI sees, or a download that nobody wants, or what a killed process left. */
export type RemovalKind = 'blob' | 'model' | 'partial' | 'leftover'

/** A name that is to be removed; relative to the models folder. */
export interface Removal {
  readonly path: string
  readonly kind: RemovalKind
  readonly bytes: number
}

/** What a collection removes. */
export interface GcPlan {
  readonly removals: readonly Removal[]
  /** Bytes that become free: those of files whose last name goes. */
  readonly freedBytes: number
  /** Paths that the index forgets. */
  readonly forgotten: readonly string[]
}

/**
 * Chooses what can be removed. What people put into the models folder stays, and so does the blob of a file that stays:
 * without it nothing becomes free. Nobody may be changing the store meanwhile.
 */
export function planGc({ files, index }: StoreFacts, reach: Reach): GcPlan {
  const folder = viewFolder(files)
  const { blobs } = folder
  const visible = [...folder.visible.values()]
  const isOurs = (file: StoredFile): boolean => {
    const known = index[file.path]
    if (known?.brought !== true || isReached(file.path, reach)) return false
    return isUnchanged(file, known) || (known.sha256 !== null && blobs.get(known.sha256)?.inode === file.inode)
  }
  const models = visible.filter(isOurs)
  const leaving = new Set(models)
  const staying = new Set(visible.filter((file) => !leaving.has(file)).map(({ inode }) => inode))
  const removals = files.flatMap((file): readonly (readonly [StoredFile, RemovalKind])[] => {
    if (leaving.has(file)) return [[file, 'model']]
    const kind = isInStore(file.path) ? judgeStored(file, { reach, staying, blobs }) : judgeVisible(file)
    return kind === undefined ? [] : [[file, kind]]
  })
  const gone = new Set(models.map(({ path }) => path))
  return {
    removals: removals.map(([{ path, bytes }, kind]) => ({ path, kind, bytes })),
    freedBytes: freedBytes(removals.map(([file]) => file)),
    forgotten: Object.keys(index).filter(
      (path) => gone.has(path) || !(folder.visible.has(path) || isReached(path, reach)),
    ),
  }
}

/** Bytes that become free when these names are removed. */
function freedBytes(files: readonly StoredFile[]): number {
  const names = Map.groupBy(files, ({ inode }) => inode)
  return [...names.values()].reduce((sum, [first, ...others]) => {
    const isLast = first !== undefined && first.links <= others.length + 1
    return isLast ? sum + first.diskBytes : sum
  }, 0)
}

interface StoredView {
  readonly reach: Reach
  /** Inodes that keep a name outside of the store. */
  readonly staying: ReadonlySet<string>
  readonly blobs: ReadonlyMap<string, StoredFile>
}

function judgeStored(file: StoredFile, { reach, staying, blobs }: StoredView): RemovalKind | undefined {
  const { path, inode } = file
  if (path === STORE.lock) return undefined
  const hash = blobHash(path)
  if (hash !== undefined) return reach.hashes.has(hash) || staying.has(inode) ? undefined : 'blob'
  const key = partialKey(path)
  if (key !== undefined) return reach.keys.has(key) && !blobs.has(key) ? undefined : 'partial'
  return 'leftover'
}

/** Only what a writer of the store names so, see `src/host/store-files.ts`. */
function judgeVisible({ path }: StoredFile): RemovalKind | undefined {
  return /^\.placing-[0-9a-f]{16}$/.test(basename(path)) ? 'leftover' : undefined
}
