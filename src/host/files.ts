import { constants, type FSWatcher, watch as watchPath } from 'node:fs'
import * as fs from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { FileStat, Files, WriteOptions } from './ports.ts'

let counter = 0

/** The file system of this host. */
export const systemFiles: Files = {
  readText: (path) => unlessMissing(fs.readFile(path, 'utf8')),
  readForeign,
  readBytes,
  writeText,
  appendText,
  stat: async (path) => toStat(await unlessMissing(fs.stat(path))),
  lstat: async (path) => toStat(await unlessMissing(fs.lstat(path))),
  list: async (path) => ((await unlessMissing(fs.readdir(path))) ?? []).sort(),
  async makeDirectory(path, mode) {
    const made = await fs.mkdir(path, { recursive: true })
    if (mode === undefined) return
    // A directory that another user put there, or a link to one, keeps its mode: root would else be led astray.
    const there = await fs.lstat(path)
    if (made !== undefined || (there.isDirectory() && there.uid === process.getuid?.())) await fs.chmod(path, mode)
  },
  async chown(path, owner) {
    const [user = '', group] = owner.split(':')
    const { uid, gid } = await lookUpUser(user)
    await fs.lchown(path, uid, group === undefined ? gid : (await lookUpUser(group)).gid)
  },
  async link(target, path) {
    const temporary = temporaryName(path)
    await fs.symlink(target, temporary)
    await fs.rename(temporary, path)
  },
  readLink: (path) => unlessMissing(fs.readlink(path)),
  rename: (from, to) => fs.rename(from, to),
  remove: (path) => fs.rm(path, { recursive: true, force: true }),
  async freeSpace(path) {
    const stat = await fs.statfs(path)
    return { bytes: stat.bavail * stat.bsize, inodes: stat.files === 0 ? Number.MAX_SAFE_INTEGER : stat.ffree }
  },
  watch(path, onChange) {
    const name = basename(path)
    const watcher: FSWatcher = watchPath(dirname(path), (_event, changed) => {
      if (changed === null || changed === name) onChange()
    })
    return () => watcher.close()
  },
}

const LARGEST_FOREIGN_BYTES = 8 * 2 ** 20

async function readForeign(path: string): Promise<string | undefined> {
  // Without O_NONBLOCK the opening of a FIFO would wait for ever.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const handle = await unlessMissing(fs.open(path, flags))
  if (handle === undefined) return undefined
  try {
    const stat = await handle.stat()
    if (!stat.isFile() || stat.size > LARGEST_FOREIGN_BYTES) throw new Error(`${path} is no file of a unit`)
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

async function readBytes(path: string, from: number, length: number): Promise<Uint8Array | undefined> {
  const handle = await unlessMissing(fs.open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK))
  if (handle === undefined) return undefined
  try {
    const buffer = Buffer.alloc(Math.max(0, Math.min(length, (await handle.stat()).size - from)))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, from)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

async function writeText(path: string, text: string, options: WriteOptions = {}): Promise<void> {
  const temporary = temporaryName(path)
  const mode = options.mode ?? 0o644
  try {
    const handle = await fs.open(temporary, 'wx', mode)
    try {
      await handle.chmod(mode)
      await handle.writeFile(text)
      if (options.durable === true) await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, path)
  } catch (error) {
    await fs.rm(temporary, { force: true })
    throw error
  }
  if (options.durable === true) await syncDirectory(dirname(path))
}

async function appendText(path: string, text: string, options: WriteOptions = {}): Promise<void> {
  const flags =
    constants.O_APPEND | constants.O_CREAT | constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const handle = await fs.open(path, flags, options.mode ?? 0o644)
  try {
    const { size } = await handle.stat()
    try {
      await handle.appendFile(text)
      if (options.durable === true) await handle.datasync()
    } catch (error) {
      await handle.truncate(size)
      throw error
    }
  } finally {
    await handle.close()
  }
}

/** fsync of a directory, so that a rename within it survives a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await fs.open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function temporaryName(path: string): string {
  counter += 1
  return join(dirname(path), `.${basename(path)}.${process.pid}.${counter}.tmp`)
}

async function unlessMissing<T>(pending: Promise<T>): Promise<T | undefined> {
  try {
    return await pending
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}

function toStat(stat: Awaited<ReturnType<typeof fs.lstat>> | undefined): FileStat | undefined {
  if (stat === undefined) return undefined
  const kind = stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : stat.isSymbolicLink() ? 'symlink' : 'other'
  return {
    kind,
    bytes: Number(stat.size),
    allocatedBytes: Number(stat.blocks) * 512,
    mode: Number(stat.mode) & 0o7777,
    uid: Number(stat.uid),
    mtimeMs: Number(stat.mtimeMs),
  }
}

const knownUsers = new Map<string, { readonly uid: number; readonly gid: number }>()

async function lookUpUser(user: string): Promise<{ readonly uid: number; readonly gid: number }> {
  const known = knownUsers.get(user)
  if (known !== undefined) return known
  const passwd = await fs.readFile('/etc/passwd', 'utf8')
  for (const line of passwd.split('\n')) {
    const [name, , uid, gid] = line.split(':')
    if (name !== user) continue
    const found = { uid: Number(uid), gid: Number(gid) }
    knownUsers.set(user, found)
    return found
  }
  throw Object.assign(new Error(`there is no user ${user}`), { code: 'ENOENT' })
}
