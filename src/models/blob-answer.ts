import { parseRange } from './byte-range.ts'
import type { ByteRange } from './range-set.ts'

/** A request for a content of the store, as far as it matters. */
export interface BlobRequest {
  readonly method: string
  readonly url: string
  readonly range?: string | undefined
  readonly ifRange?: string | undefined
}

/** The head of an answer; `body` is what of the content follows it, null for nothing. */
export interface BlobAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: ByteRange | null
}

/** Nothing is there by this name, or nothing that is given to others. */
export const NOT_FOUND = refusal(404)

/** Too many others are being served; the answer is to be sought again in two seconds, or elsewhere. */
export const BUSY = refusal(503, { 'retry-after': '2', connection: 'close' })

/** The content is there and cannot be read. */
export const UNREADABLE = refusal(500)

/** The sha256 that a request asks for, `/blobs/sha256/<hex>` and nothing else; else why it gets none. */
export function readBlobRequest({ method, url }: BlobRequest): string | BlobAnswer {
  if (method !== 'GET' && method !== 'HEAD') return refusal(405, { allow: 'GET, HEAD', connection: 'close' })
  return /^\/blobs\/sha256\/([0-9a-f]{64})$/.exec(url)?.[1] ?? NOT_FOUND
}

/** The answer to a request for a content of `size` bytes, which never changes: its hash is its name and its ETag. */
export function answerBlob(sha256: string, size: number, { method, range, ifRange }: BlobRequest): BlobAnswer {
  const etag = `"${sha256}"`
  const headers = {
    etag,
    'accept-ranges': 'bytes',
    'cache-control': 'public, max-age=31536000, immutable',
    'content-type': 'application/octet-stream',
    'x-content-type-options': 'nosniff',
  }
  // Range is defined for GET only (RFC 9110, 14.2).
  const isRanged = method === 'GET' && (ifRange === undefined || ifRange === etag)
  const wanted = isRanged ? parseRange(range, size) : 'whole'
  if (wanted === 'none') return refusal(416, { ...headers, 'content-range': `bytes */${size}` })
  const body = wanted === 'whole' ? { from: 0, to: size } : wanted
  const length = { 'content-length': String(body.to - body.from) }
  if (method === 'HEAD') return { status: 200, headers: { ...headers, ...length }, body: null }
  if (wanted === 'whole') return { status: 200, headers: { ...headers, ...length }, body }
  const part = { 'content-range': `bytes ${body.from}-${body.to - 1}/${size}` }
  return { status: 206, headers: { ...headers, ...length, ...part }, body }
}

function refusal(status: number, headers: Readonly<Record<string, string>> = {}): BlobAnswer {
  return { status, headers: { ...headers, 'content-length': '0' }, body: null }
}
