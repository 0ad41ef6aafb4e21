import type { Sighting, StateRecord } from '../../../src/health/record.ts'
import type { Clock, Files, Terminal } from '../../../src/host/ports.ts'

/** A terminal that keeps what was printed. */
export interface KeptTerminal extends Terminal {
  readonly out: string[]
  readonly err: string[]
}

/** A pipe by default. */
export function keepingTerminal(changes: Partial<Terminal> = {}): KeptTerminal {
  const out: string[] = []
  const err: string[] = []
  return {
    out,
    err,
    write: (text) => void out.push(text),
    error: (text) => void err.push(text),
    isTTY: false,
    colour: false,
    columns: 80,
    rows: 24,
    ...changes,
  }
}

/** A record that shows one sighting after the other, the last one for ever. */
export function recordOf(...sightings: readonly Sighting[]): StateRecord {
  let index = 0
  return {
    async look() {
      const sighting = sightings[Math.min(index, sightings.length - 1)] ?? { alive: false }
      index += 1
      return sighting
    },
    watch: () => () => undefined,
  }
}

/** A clock on which sleeping takes no time but moves the hands. */
export function movingClock(beginUs: number): Clock {
  let now = beginUs
  return {
    nowUs: () => now,
    async sleep(ms) {
      now += ms * 1000
    },
  }
}

/** Files that are only read. */
export function filesOf(texts: Readonly<Record<string, string>>): Files {
  const refuse = (): never => {
    throw new Error('these files are only read')
  }
  const isBelow = (path: string, directory: string): boolean => path.startsWith(`${directory}/`)
  return {
    readText: async (path) => texts[path],
    readBytes: refuse,
    readForeign: async (path) => texts[path],
    stat: async (path) =>
      texts[path] === undefined
        ? undefined
        : { kind: 'file', bytes: texts[path].length, mode: 0o644, uid: 0, mtimeMs: 1 },
    lstat: async (path) => {
      const kind = texts[path] !== undefined ? 'file' : 'directory'
      return { kind, bytes: 0, mode: 0o755, uid: 0, mtimeMs: 1 }
    },
    list: async (directory) => {
      const below = Object.keys(texts).filter((path) => isBelow(path, directory))
      return [...new Set(below.map((path) => path.slice(directory.length + 1).split('/')[0] ?? ''))].sort()
    },
    writeText: refuse,
    appendText: refuse,
    makeDirectory: refuse,
    chown: refuse,
    link: refuse,
    readLink: refuse,
    rename: refuse,
    remove: refuse,
    freeSpace: refuse,
    watch: () => () => undefined,
  }
}
