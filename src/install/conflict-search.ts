import type { RequirementsFile, Resolution } from '../host/install-ports.ts'

/** What a search for the smallest conflict works with. */
export interface ConflictSearch {
  /** Files that do not resolve together. */
  readonly files: readonly RequirementsFile[]
  /** What the resolver said of all of them. */
  readonly words: string
  /** Resolutions to be made at most. */
  readonly limit: number
  /** Sets of owners that may be at fault by themselves, the likeliest first. */
  readonly suspects: (words: string) => readonly (readonly string[])[]
  readonly resolve: (files: readonly RequirementsFile[], tried: number) => Promise<Resolution>
}

/** Files of which none can be left out, unless the limit came first, and what the resolver says of just these. */
export interface SmallestConflict {
  readonly smallest: readonly RequirementsFile[]
  readonly words: string
}

const EXHAUSTED = Symbol('exhausted')

/**
 * The smallest set of files that does not resolve, by trying the suspects and then by halves: about 2 k log(n / k)
 * resolutions for k culprits among n files (QuickXplain, U. Junker, AAAI 2004).
 */
export async function smallestConflict(search: ConflictSearch): Promise<SmallestConflict> {
  const { files, limit } = search
  const known = new Map<string, string | null>([[keyOf(files), search.words]])
  let tried = 0
  let base = files
  /** The resolver's words when these do not resolve; null when they do, or when it could not be found out. */
  const conflictOf = async (some: readonly RequirementsFile[]): Promise<string | null> => {
    const ordered = files.filter((file) => some.includes(file))
    const key = keyOf(ordered)
    const before = known.get(key)
    if (before !== undefined) return before
    if (tried >= limit) throw EXHAUSTED
    tried += 1
    const result = await search.resolve(ordered, tried)
    const words = result.ok || result.reason !== 'conflict' ? null : result.detail
    known.set(key, words)
    return words
  }
  const explain = async (
    certain: readonly RequirementsFile[],
    isGrown: boolean,
    doubtful: readonly RequirementsFile[],
  ): Promise<readonly RequirementsFile[]> => {
    if (isGrown && certain.length > 0 && (await conflictOf(certain)) !== null) return []
    if (doubtful.length <= 1) return doubtful
    const half = Math.floor(doubtful.length / 2)
    const [left, right] = [doubtful.slice(0, half), doubtful.slice(half)]
    const ofRight = await explain([...certain, ...left], true, right)
    const ofLeft = await explain([...certain, ...ofRight], ofRight.length > 0, left)
    return [...ofLeft, ...ofRight]
  }
  try {
    for (const owners of search.suspects(search.words)) {
      const some = files.filter(({ owner }) => owners.includes(owner))
      if (some.length === 0 || some.length === base.length || (await conflictOf(some)) === null) continue
      base = some
      break
    }
    const smallest = await explain([], false, base)
    base = files.filter((file) => smallest.includes(file))
    return { smallest: base, words: (await conflictOf(base)) ?? search.words }
  } catch (thrown) {
    if (thrown !== EXHAUSTED) throw thrown
    return { smallest: base, words: known.get(keyOf(base)) ?? search.words }
  }
}

function keyOf(files: readonly RequirementsFile[]): string {
  return files.map(({ path }) => path).join('\0')
}
