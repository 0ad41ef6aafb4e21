import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { create } from 'tar'
import type { Archive } from './ports.ts'

/** Packs text files with tar's library; the archive appears whole or not at all. */
export const tarArchive: Archive = {
  async pack(out, entries) {
    const directory = await mkdtemp(join(dirname(out), `.${basename(out)}.`))
    try {
      const cwd = join(directory, 'content')
      for (const entry of entries) {
        const path = join(cwd, entry.path)
        await mkdir(dirname(path), { recursive: true, mode: 0o700 })
        await writeFile(path, entry.text, { mode: 0o600 })
      }
      const file = join(directory, 'archive')
      await writeFile(file, '', { mode: 0o600 })
      await create({ gzip: true, portable: true, cwd, file }, [...entries.map((entry) => entry.path)])
      await rename(file, out)
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  },
}
