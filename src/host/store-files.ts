import { createHash } from 'node:crypto'
import { chmodSync, constants, linkSync, lstatSync, renameSync, statSync, unlinkSync } from 'node:fs'
import * as fs from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { digest } from './digest.ts'
import { type HashThreads, openHashThreads } from './download/hash-threads.ts'
import { syncDirectory } from './files.ts'
import type { PlacedFile, Placement, StoreFiles } from './model-ports.ts'
import { takeLock } from './store-lock.ts'

/** Nobody changes in place what several names share. */
const BLOB_MODE = 0o444
const PIECE_BYTES = 1024 * 1024
/** What a file system answers that cannot share an inode, or an extent, between two places. */
const CANNOT_LINK = ['EXDEV', 'EMLINK', 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']
const CANNOT_CLONE = [...CANNOT_LINK, 'EINVAL', 'ENOTTY']

/** Files of a store on this host. */
export const systemStore: StoreFiles = { hash, seal, place, settle, adopt, copy, lock: takeLock }

/** Directories whose names have changed since they were last synced: once for many models, not once for each. */
const unsettled = new Set<string>()
let threads: HashThreads | undefined

async function hash(path: string, onBytes: (count: number) => void = () => undefined): Promise<string> {
  // The thread tells no errno.
  await fs.access(path, constants.R_OK)
  const { size } = await fs.stat(path)
  threads ??= openHashThreads()
  return threads.begin(path).finish(size, onBytes)
}

/** Ends what is being hashed, of which nobody hears any more: a thread at work would keep the process from its end. */
export function endHashing(): void {
  threads?.close()
  threads = undefined
}

// What changes names only is called at once: to have a thread of libuv's call it costs ten times as much, and models come in thousands.
async function seal(partial: string, blob: string): Promise<void> {
  const there = lstatSync(blob, { throwIfNoEntry: false })
  const isThere = there?.isFile() === true && there.size === statSync(partial).size
  if (isThere) unlinkSync(partial)
  else {
    chmodSync(partial, BLOB_MODE)
    renameSync(partial, blob)
  }
  removeFile(`${partial}.map`)
  unsettled.add(dirname(blob))
}

async function settle(): Promise<void> {
  const directories = [...unsettled]
  unsettled.clear()
  await Promise.all(directories.map(syncDirectory))
}

async function place(blob: string, path: string, onBytes?: (count: number) => void): Promise<PlacedFile> {
  const temporary = temporaryName(path)
  // One that a killed process left.
  removeFile(temporary)
  try {
    const placement = await share(blob, temporary, onBytes)
    renameSync(temporary, path)
    unsettled.add(dirname(path))
    const { size, mtimeMs } = lstatSync(path)
    return { placement, bytes: size, mtimeMs }
  } finally {
    // Two names of one inode: rename(2) then does nothing, and says that it did.
    removeFile(temporary)
  }
}

async function share(blob: string, path: string, onBytes?: (count: number) => void): Promise<Placement> {
  if (await canDo(CANNOT_LINK, link(blob, path))) return 'linked'
  if (await canDo(CANNOT_CLONE, fs.copyFile(blob, path, constants.COPYFILE_FICLONE_FORCE))) {
    await syncFile(path)
    return 'cloned'
  }
  await copy(blob, path, onBytes)
  await fs.chmod(path, BLOB_MODE)
  return 'copied'
}

async function adopt(path: string, blob: string): Promise<boolean> {
  // link(2) gives a symbolic link a second name, not what it points at.
  if (!(await fs.lstat(path)).isFile()) return false
  if (!(await canDo([...CANNOT_LINK, 'EACCES'], unlessCode(['EEXIST'], fs.link(path, blob))))) return false
  const [own, there] = await Promise.all([fs.lstat(path), fs.lstat(blob)])
  if (own.ino !== there.ino || own.dev !== there.dev) return true
  if (await canDo(['EPERM', 'EACCES'], fs.chmod(path, BLOB_MODE))) {
    await syncFile(path)
    await syncDirectory(dirname(blob))
    return true
  }
  // Its owner could go on to change it.
  await fs.rm(blob)
  return false
}

async function copy(from: string, to: string, onBytes?: (count: number) => void): Promise<string> {
  const hash = createHash('sha256')
  await fs.rm(to, { force: true })
  const source = await fs.open(from, 'r')
  try {
    const target = await fs.open(to, 'wx', 0o644)
    try {
      const buffer = Buffer.allocUnsafe(PIECE_BYTES)
      for (;;) {
        const { bytesRead } = await source.read(buffer, 0, PIECE_BYTES)
        if (bytesRead === 0) break
        const piece = buffer.subarray(0, bytesRead)
        hash.update(piece)
        await target.writeFile(piece)
        onBytes?.(bytesRead)
      }
      await target.sync()
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
  return hash.digest('hex')
}

/** A name beside a path, the same for every try; short, since the name itself may be as long as a name can be. */
function temporaryName(path: string): string {
  return join(dirname(path), `.placing-${digest(basename(path)).slice(0, 16)}`)
}

async function link(from: string, to: string): Promise<void> {
  linkSync(from, to)
}

function removeFile(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) unlinkSync(path)
}

async function syncFile(path: string): Promise<void> {
  const handle = await fs.open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** False when it fails with one of these errnos; other failures are thrown. */
async function canDo(codes: readonly string[], pending: Promise<unknown>): Promise<boolean> {
  return (
    (await unlessCode(
      codes,
      pending.then(() => true),
    )) ?? false
  )
}

async function unlessCode<T>(codes: readonly string[], pending: Promise<T>): Promise<T | undefined> {
  try {
    return await pending
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== undefined && codes.includes(code)) return undefined
    throw error
  }
}
