import type { Dirent, Stats } from 'node:fs'
import { lstat, readdir, stat } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Inventory, StoredFile } from './inventory-ports.ts'

const BLOCK_BYTES = 512

/** Folders of this host. What goes away while it is looked at, and folders that may not be read, are left out. */
export const systemInventory: Inventory = {
  async readTree(folder, also = []) {
    const names = new Set((await listFiles(folder)).map((path) => relative(folder, path)))
    const found = await Promise.all([...names].map((path) => look(lstat, folder, path)))
    const others = await Promise.all(also.filter((path) => !names.has(path)).map((path) => look(stat, folder, path)))
    return [...found, ...others]
      .filter((file) => file !== undefined)
      .sort((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0))
  },
  volumeOf: async (path) => String((await stat(path)).dev),
}

async function listFiles(folder: string): Promise<readonly string[]> {
  const entries = await readFolder(folder)
  const files = entries.filter((entry) => entry.isFile()).map(({ name }) => join(folder, name))
  const folders = entries.filter((entry) => entry.isDirectory())
  return [...files, ...(await Promise.all(folders.map(({ name }) => listFiles(join(folder, name))))).flat()]
}

async function readFolder(folder: string): Promise<readonly Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true })
  } catch (error) {
    if (isGone(error) || (error as NodeJS.ErrnoException).code === 'EACCES') return []
    throw error
  }
}

async function look(
  how: (path: string) => Promise<Stats>,
  folder: string,
  path: string,
): Promise<StoredFile | undefined> {
  try {
    const found = await how(join(folder, path))
    if (!found.isFile()) return undefined
    const { size: bytes, mtimeMs, nlink: links, dev, ino, blocks } = found
    return { path, bytes, mtimeMs, inode: `${dev}:${ino}`, links, diskBytes: Math.min(bytes, blocks * BLOCK_BYTES) }
  } catch (error) {
    if (isGone(error)) return undefined
    throw error
  }
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'ELOOP'
}
