import { type ByteRange, RangeSet } from './range-set.ts'

/** Which file a partial one is a part of. */
export interface PartIdentity {
  /** sha256 of the URL that was asked for, in hex: the URL itself may hold a secret. */
  readonly source: string
  /** sha256 that the whole file is to have; null when nobody says. */
  readonly sha256: string | null
  /** ETag of the answer; null for none or a weak one, which does not tell bytes apart (RFC 9110, 13.1.5). */
  readonly etag: string | null
  readonly lastModified: string | null
  /** Bytes of the whole file. */
  readonly total: number
}

/** `<partial>.map`: which bytes of a partial file have arrived. */
export interface PartMap {
  readonly identity: PartIdentity
  readonly arrived: RangeSet
  /** It was written since the host was booted. */
  readonly isSameBoot: boolean
}

interface Header extends PartIdentity {
  readonly schema: 1
  /** Boot in which the lines without a later `synced` were written: what was not synced is lost with it. */
  readonly boot: string
}

const SYNCED = 'synced'

/** The begin of a map: what had arrived and was on the disk by then. Further lines are appended to it. */
export function renderPartMap(identity: PartIdentity, boot: string, synced: readonly ByteRange[]): string {
  const header: Header = { schema: 1, ...identity, boot }
  return `${JSON.stringify(header)}\n${synced.map(renderRange).join('')}${SYNCED}\n`
}

/** The line for a range that has arrived. */
export function renderRange({ from, to }: ByteRange): string {
  return `${from} ${to}\n`
}

/**
 * Reads a map. What the process had written before it died counts in the same boot; after another boot only what was synced
 * does. Undefined when it is none; a last line without its end is left out.
 */
export function parsePartMap(text: string, boot: string): PartMap | undefined {
  const [first = '', ...lines] = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  const header = parseHeader(first)
  if (header === undefined) return undefined
  const { schema: _, boot: written, ...identity } = header
  const isSameBoot = written === boot
  const counted = isSameBoot ? lines : lines.slice(0, lines.lastIndexOf(SYNCED) + 1)
  const arrived = new RangeSet()
  for (const line of counted) {
    const match = /^(\d+) (\d+)$/.exec(line)
    if (match !== null) arrived.add(Number(match[1]), Math.min(Number(match[2]), identity.total))
  }
  return { identity, arrived, isSameBoot }
}

/** Tells whether bytes of one file can be gone on with as those of another, which is to be fetched. */
export function isSameFile(
  part: PartIdentity,
  wanted: { readonly source: string; readonly sha256: string | null; readonly bytes: number | null },
): boolean {
  if (wanted.bytes !== null && wanted.bytes !== part.total) return false
  // Whatever the source: the hash decides in the end.
  if (wanted.sha256 !== null) return part.sha256 === wanted.sha256
  return part.source === wanted.source && part.sha256 === null && validatorOf(part) !== null
}

/**
 * Tells whether an answer is about the same version of a file as those before. Where the hash of the whole is known only the
 * size counts: two hosts may tag one file differently, and the hash decides in the end.
 */
export function isSameVersion(before: PartIdentity, now: PartIdentity, isHashKnown: boolean): boolean {
  if (before.total !== now.total) return false
  if (isHashKnown) return true
  return before.etag === now.etag && (before.etag !== null || before.lastModified === now.lastModified)
}

/** What If-Range takes: a strong ETag, else a date; null for neither. */
export function validatorOf({ etag, lastModified }: Pick<PartIdentity, 'etag' | 'lastModified'>): string | null {
  return etag ?? lastModified
}

function parseHeader(line: string): Header | undefined {
  try {
    const value = JSON.parse(line) as Partial<Header> | null
    if (value === null || value.schema !== 1 || typeof value.source !== 'string') return undefined
    const total = value.total
    if (typeof total !== 'number' || !Number.isSafeInteger(total) || total < 0) return undefined
    const text = (field: unknown): string | null => (typeof field === 'string' ? field : null)
    return {
      schema: 1,
      source: value.source,
      sha256: text(value.sha256),
      etag: text(value.etag),
      lastModified: text(value.lastModified),
      total,
      boot: text(value.boot) ?? '',
    }
  } catch {
    return undefined
  }
}
