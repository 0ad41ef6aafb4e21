import type { StoredFile } from '../host/inventory-ports.ts'
import type { ModelRow } from './list-models.ts'
import { isSameState } from './model-plan.ts'
import { blobHash, type StoreFacts } from './store-view.ts'

/** One file to read, by all names that it has. */
export interface Check {
  /** Relative to the models folder; the name in the store first. */
  readonly paths: readonly string[]
  readonly bytes: number
  readonly mtimeMs: number
  readonly inode: string
  readonly expected: string
}

/** A file whose content is not what was verified. */
export interface Damage extends Check {
  /** sha256 of what is there; null where it cannot be read. */
  readonly found: string | null
  /** Why it cannot be read. */
  readonly reason?: string
  readonly wanted_by: readonly string[]
}

/**
 * What a verification reads: every blob and every file whose hash is known, each inode once. A blob is held to the hash that
 * it is named by, any other file to the index; one that has names of both kinds to the name. Files without a known hash are
 * left out.
 */
export function planVerify({ files, index }: StoreFacts, chosen: readonly ModelRow[] | undefined): readonly Check[] {
  const inodes = Map.groupBy(files, ({ inode }) => inode)
  const checks = [...inodes.values()].flatMap((names): readonly Check[] => {
    const blob = names.find(({ path }) => blobHash(path) !== undefined)
    const known = names.find(({ path }) => typeof index[path]?.sha256 === 'string')
    const expected = blob === undefined ? index[known?.path ?? '']?.sha256 : blobHash(blob.path)
    const [first] = names
    if (typeof expected !== 'string' || first === undefined) return []
    const { bytes, mtimeMs, inode } = first
    return [{ paths: names.map(({ path }) => path).toSorted(storeFirst), bytes, mtimeMs, inode, expected }]
  })
  if (chosen === undefined) return checks
  const paths = new Set(chosen.map(({ path }) => path))
  const hashes = new Set(chosen.map(({ sha256 }) => sha256))
  return checks.filter((check) => hashes.has(check.expected) || check.paths.some((path) => paths.has(path)))
}

/** A damaged file for people: its names, what it is to be and what it is, and who wants it. */
export function damageLine({ paths, expected, found, reason, wanted_by }: Damage): string {
  const is = found === null ? `it cannot be read: ${reason ?? 'for no reason that is known'}` : `sha256 is ${found}`
  const who = wanted_by.length === 0 ? 'nobody wants it' : `wanted by ${wanted_by.join(' ')}`
  return `${paths.join(', ')}: ${is}, expected ${expected}; ${who}`
}

/** Who wants one of the names or the content of a file. */
export function wantedBy(rows: readonly ModelRow[], { paths, expected }: Check): readonly string[] {
  const wanting = rows.filter(({ path, sha256 }) => sha256 === expected || (path !== null && paths.includes(path)))
  return [...new Set(wanting.flatMap(({ wanted_by }) => wanted_by))]
}

/** Tells whether a file is still the one that was read. */
export function isSameFile(check: Check, file: Pick<StoredFile, 'inode' | 'mtimeMs' | 'bytes'>): boolean {
  return check.inode === file.inode && isSameState(check, file)
}

function storeFirst(a: string, b: string): number {
  const rank = (path: string): number => (blobHash(path) === undefined ? 1 : 0)
  return rank(a) - rank(b) || (a < b ? -1 : 1)
}
