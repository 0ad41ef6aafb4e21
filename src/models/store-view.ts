import { join, relative } from 'node:path'
import type { StoredFile } from '../host/inventory-ports.ts'
import { storeOf } from '../plan/places.ts'
import { isSameState, type ModelIndex, type VerifiedFile } from './model-plan.ts'

/** A models folder and its index as they are. */
export interface StoreFacts {
  readonly files: readonly StoredFile[]
  readonly index: ModelIndex['files']
}

/** The files of a models folder, apart by who looks at them. */
export interface FolderView {
  /** What ComfyUI sees, by path. */
  readonly visible: ReadonlyMap<string, StoredFile>
  /** Contents in the store, by hash. */
  readonly blobs: ReadonlyMap<string, StoredFile>
}

/** Places of the store, relative to the models folder. */
export const STORE = relativeStore()

function relativeStore() {
  const { root, blobs, partial, lock } = storeOf('/')
  const below = (path: string): string => relative('/', path)
  // What was found damaged and may still be open somewhere.
  const damaged = below(join(root, 'damaged'))
  return { root: below(root), blobs: below(blobs), partial: below(partial), lock: below(lock), damaged }
}

const BLOB = new RegExp(`^${STORE.blobs}/([0-9a-f]{64})$`)
const PARTIAL = new RegExp(`^${STORE.partial}/((?:url-)?[0-9a-f]{64})(?:\\.map)?$`)

/** The hash that a file of the store is named by; undefined for any other file. */
export function blobHash(path: string): string | undefined {
  return BLOB.exec(path)?.[1]
}

/** The key that an unfinished download and its map are named by; undefined for any other file. */
export function partialKey(path: string): string | undefined {
  return PARTIAL.exec(path)?.[1]
}

/** Tells whether a path of the models folder is in the store, where ComfyUI does not look. */
export function isInStore(path: string): boolean {
  return path.startsWith(`${STORE.root}/`)
}

/** Tells whether a file is still the one that was verified, by size and time of change. */
export function isUnchanged(file: StoredFile, known: VerifiedFile | undefined): boolean {
  return known !== undefined && isSameState(file, known)
}

/** Sorts the files of a models folder. */
export function viewFolder(files: readonly StoredFile[]): FolderView {
  const visible = files.filter(({ path }) => !isInStore(path))
  const blobs = files.flatMap((file): [string, StoredFile][] => {
    const hash = blobHash(file.path)
    return hash === undefined ? [] : [[hash, file]]
  })
  return { visible: new Map(visible.map((file) => [file.path, file])), blobs: new Map(blobs) }
}
