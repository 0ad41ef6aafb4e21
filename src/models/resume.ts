/** What is kept beside a part of a file (`<destination>.part.json`): where it came from and which version it is. */
export interface PartRecord {
  readonly url: string
  readonly etag: string | null
  readonly lastModified: string | null
  /** Size of the whole file as the server told, in bytes. */
  readonly total: number | null
}

/** How a download begins: from the first byte, or after the part that is there. `validator` is the value of If-Range. */
export type DownloadStart = { readonly from: 0 } | { readonly from: number; readonly validator: string | null }

/** Decides whether a part can be gone on with: same source, not too long, and a way to tell that the file is the same. */
export function planResume(
  partBytes: number,
  record: PartRecord | undefined,
  wanted: { readonly url: string; readonly bytes: number | null; readonly sha256: string | null },
): DownloadStart {
  if (partBytes === 0 || record === undefined || record.url !== wanted.url) return { from: 0 }
  const total = wanted.bytes ?? record.total
  if (total !== null && partBytes > total) return { from: 0 }
  const validator = record.etag?.startsWith('"') === true ? record.etag : record.lastModified
  if (validator === null && wanted.sha256 === null) return { from: 0 }
  return { from: partBytes, validator }
}

/** Reads a part's record; undefined when it is not one. */
export function parsePartRecord(text: string | undefined): PartRecord | undefined {
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !('url' in value) || typeof value.url !== 'string')
      return undefined
    const read = (name: string): unknown => (value as Record<string, unknown>)[name]
    const textOf = (name: string): string | null => (typeof read(name) === 'string' ? (read(name) as string) : null)
    const total = read('total')
    return {
      url: value.url,
      etag: textOf('etag'),
      lastModified: textOf('lastModified'),
      total: typeof total === 'number' ? total : null,
    }
  } catch {
    return undefined
  }
}

/** A Content-Range header (RFC 9110, 14.4): bytes `from` to `to` (the one after the last) of `total`; undefined when it cannot be read. */
export function parseContentRange(
  header: string | undefined,
): { readonly from: number; readonly to: number; readonly total: number | null } | undefined {
  const match = /^bytes (\d+)-(\d+)\/(\d+|\*)$/.exec(header ?? '')
  if (match === null) return undefined
  return { from: Number(match[1]), to: Number(match[2]) + 1, total: match[3] === '*' ? null : Number(match[3]) }
}

/** What an HTTP status means for a download. */
export function judgeStatus(status: number): 'whole' | 'part' | 'redirect' | 'range' | 'auth' | 'retry' | 'refused' {
  if (status === 200) return 'whole'
  if (status === 206) return 'part'
  if ([301, 302, 303, 307, 308].includes(status)) return 'redirect'
  if (status === 416) return 'range'
  if (status === 401 || status === 403) return 'auth'
  if (status >= 500 || status === 408 || status === 425 || status === 429) return 'retry'
  return 'refused'
}
