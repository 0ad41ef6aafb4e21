import type { FileStat, Files } from '../../../src/host/ports.ts'

/** Files in a map from path to text; `room` is how many bytes fit in all, for a full disk. */
export interface MemoryFiles extends Files {
  readonly texts: Map<string, string>
  room: number
}

const unused = (): never => {
  throw new Error('not part of this test')
}

/** A file system of plain text; a directory is whatever something lies below, or was made. */
export function memoryFiles(initial: Readonly<Record<string, string>> = {}): MemoryFiles {
  const texts = new Map(Object.entries(initial))
  const directories = new Set<string>()
  const isDirectory = (path: string): boolean =>
    directories.has(path) || [...texts.keys()].some((file) => file.startsWith(`${path}/`))
  const used = (): number => [...texts.values()].reduce((sum, text) => sum + Buffer.byteLength(text), 0)
  const stat = async (path: string): Promise<FileStat | undefined> => {
    const text = texts.get(path)
    const kind = text !== undefined ? 'file' : isDirectory(path) ? 'directory' : undefined
    return kind && { kind, bytes: Buffer.byteLength(text ?? ''), mode: 0o644, uid: 0, mtimeMs: 0 }
  }
  const put = (path: string, text: string): void => {
    const more = Buffer.byteLength(text) - Buffer.byteLength(texts.get(path) ?? '')
    if (used() + more > files.room) throw new Error('ENOSPC: no space left on device, write')
    texts.set(path, text)
  }
  const files: MemoryFiles = {
    texts,
    room: Number.POSITIVE_INFINITY,
    readText: async (path) => texts.get(path),
    readForeign: async (path) => texts.get(path),
    readBytes: async (path, from, length) => {
      const text = texts.get(path)
      return text === undefined ? undefined : Buffer.from(text).subarray(from, from + length)
    },
    writeText: async (path, text) => put(path, text),
    appendText: async (path, text) => put(path, (texts.get(path) ?? '') + text),
    stat,
    lstat: stat,
    list: async (directory) => {
      const all = [...texts.keys(), ...directories]
      const below = all.filter((path) => path.startsWith(`${directory}/`))
      return [...new Set(below.map((path) => path.slice(directory.length + 1).split('/')[0] ?? ''))].sort()
    },
    makeDirectory: async (path) => void directories.add(path),
    chown: async () => undefined,
    link: unused,
    readLink: unused,
    rename: unused,
    remove: async (path) => void texts.delete(path),
    freeSpace: unused,
    watch: unused,
  }
  return files
}
