import { cp, readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import type { Trees } from './install-ports.ts'

/** Trees of files on this host. */
export const systemTrees: Trees = {
  copyMissing: (from, to) =>
    cp(from, to, { recursive: true, force: false, errorOnExist: false, preserveTimestamps: true }),
  async listFiles(directory) {
    try {
      const entries = await readdir(directory, { recursive: true, withFileTypes: true })
      return entries
        .filter((entry) => !entry.isDirectory())
        .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
        .sort()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
      throw error
    }
  },
}
