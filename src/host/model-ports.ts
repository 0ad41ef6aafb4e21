/** The outside world of the model store: where bytes come from, and what a file system does with whole files. */

/** One place that has the bytes of a model. */
export interface ModelSource {
  readonly url: string
  /** Sent as a bearer token to the host of `url` only; null for none. */
  readonly token: string | null
  /** Name of the variable that the token is from, or would be: for what a 401 says. */
  readonly tokenVariable: string | null
}

/** One file to fetch. */
export interface FetchRequest {
  /** Name of the model, for messages. */
  readonly name: string
  /** Where the bytes are written in place; what has arrived of them is noted in `<partial>.map`. */
  readonly partial: string
  /** Tried in this order. All of them have the same bytes. */
  readonly sources: readonly ModelSource[]
  /** Exact size where it is known. */
  readonly bytes: number | null
  /** No answer is read beyond this, where no size is known. */
  readonly mostBytes: number
  readonly sha256: string | null
  /** Bytes that arrived, or negative ones that do not count any more. */
  readonly onBytes: (count: number) => void
  /** Bytes that were there before and are gone on with. */
  readonly onResume: (count: number) => void
  /** A try failed and another one follows, perhaps at the next source; `attempt` counts from 1. */
  readonly onRetry: (error: Error, attempt: number) => void
}

/** A file whose bytes are whole, agree with size and sha256, and are on the disk, still under its partial name. */
export interface FetchedFile {
  readonly bytes: number
  readonly sha256: string
  /** Bytes that were there before. */
  readonly resumed: number
  readonly attempts: number
  /** Host of the source that it is from; the bytes may have come from where that redirected to. */
  readonly host: string
}

/**
 * Fetches files over several connections at once: ranges where a server has them, one stream where it does not. What has
 * arrived survives a kill and a reboot and is gone on with while size and validator say that it is the same file. Throws
 * CM1801 to CM1805, CM1808, CM1810, CM1811; CM1806 and CM0401 for what the file system refuses.
 */
export interface Fetcher {
  fetch(request: FetchRequest): Promise<FetchedFile>
  /** Size of the whole file as the first source that answers tells it (HEAD); null when none does. Never throws but when stopped. */
  sizeOf(sources: readonly ModelSource[]): Promise<number | null>
  close(): void
}

/** How a file got its content from the store: one inode, one extent, or twice on the disk. */
export type Placement = 'linked' | 'cloned' | 'copied'

/** A file that got its content from the store, as it stands under its name. */
export interface PlacedFile {
  readonly placement: Placement
  readonly bytes: number
  readonly mtimeMs: number
}

/** Who works on a store, as the lock file says. */
export interface StoreHolder {
  readonly pid: number
  /** e.g. `comfy-machine install models`. */
  readonly command: string
  /** Milliseconds since the epoch of its last sign of progress. */
  readonly aliveMs: number
}

/** The store is this process's until it is released or the process ends, however it ends (flock(2)). */
export interface StoreLock {
  /** A sign of progress for those who wait. */
  touch(): Promise<void>
  release(): Promise<void>
}

/** Files of the store. Every failure throws with errno in `code`. */
export interface StoreFiles {
  /** sha256 of a file in lowercase hex, read in a thread of its own. */
  hash(path: string, onBytes?: (count: number) => void): Promise<string>
  /** Gives a whole partial file, already on the disk, its name in the store, read-only, and removes its map; an equal one that is there stays. */
  seal(partial: string, blob: string): Promise<void>
  /**
   * Puts the content of a blob at `path` in one step, over what is there: a hard link, else a reflink, else a copy, whose
   * bytes `onBytes` is told of.
   */
  place(blob: string, path: string, onBytes?: (count: number) => void): Promise<PlacedFile>
  /**
   * Resolves when the names that seal and place have given are on the disk. Before, a power cut may take names away, and never
   * leaves one without its content.
   */
  settle(): Promise<void>
  /** Gives a file that lies in the models folder a name in the store; false where the file system or its owner does not allow it. */
  adopt(path: string, blob: string): Promise<boolean>
  /** Copies a file while it is hashed; the copy is on the disk and has no other name yet. */
  copy(from: string, to: string, onBytes?: (count: number) => void): Promise<string>
  /** Takes the lock of a store; the holder when another process has it. */
  lock(path: string, command: string): Promise<StoreLock | StoreHolder>
}
