import { basename, dirname } from 'node:path'
import type { FileStat, Files } from '../host/ports.ts'

/** A look at many files of few directories: a directory is listed once, and only what is in it is asked for. */
export interface Look {
  has(path: string): Promise<boolean>
  stat(path: string): Promise<FileStat | undefined>
}

/** A look at files as they are now; what changes later is not seen. */
export function openLook(files: Pick<Files, 'list' | 'stat'>): Look {
  const listed = new Map<string, Promise<ReadonlySet<string>>>()
  const namesIn = (directory: string): Promise<ReadonlySet<string>> => {
    const known = listed.get(directory) ?? files.list(directory).then((names) => new Set(names))
    listed.set(directory, known)
    return known
  }
  const has = async (path: string): Promise<boolean> => (await namesIn(dirname(path))).has(basename(path))
  return {
    has,
    stat: async (path) => ((await has(path)) ? files.stat(path) : undefined),
  }
}
