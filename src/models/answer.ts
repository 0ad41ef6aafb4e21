import { parseRetryAfter } from '../install/retry.ts'
import type { ResponseHead } from './response-head.ts'

/** What the head of an answer means for a file that is being fetched. */
export type Answer =
  /** All of the file from its first byte on; `total` null when its length is not told. */
  | { readonly kind: 'whole'; readonly total: number | null }
  /** Bytes `from` to `to` of `total`. */
  | { readonly kind: 'part'; readonly from: number; readonly to: number; readonly total: number }
  /** There are no such bytes (416); `total` null when it is not told. */
  | { readonly kind: 'no-range'; readonly total: number | null }
  /** A 206 that cannot be what was asked for. */
  | { readonly kind: 'odd-range' }
  | { readonly kind: 'redirect'; readonly location: string | undefined }
  | { readonly kind: 'auth' }
  | { readonly kind: 'retry'; readonly waitMs: number }
  | { readonly kind: 'refused' }

/** Reads the head of an answer. */
export function readAnswer(head: ResponseHead, nowMs: number): Answer {
  const kind = judgeStatus(head.status)
  switch (kind) {
    case 'whole':
      return { kind, total: head.length }
    case 'part': {
      const range = parseContentRange(head.headers.get('content-range'))
      if (range === undefined || range.total === null) return { kind: 'odd-range' }
      const { from, to, total } = range
      const isSound = from < to && to <= total && (head.length === null || head.length === to - from)
      return isSound ? { kind, from, to, total } : { kind: 'odd-range' }
    }
    case 'range':
      return { kind: 'no-range', total: readTotal(head.headers.get('content-range')) }
    case 'redirect':
      return { kind, location: head.headers.get('location') }
    case 'retry':
      return { kind, waitMs: parseRetryAfter(head.headers.get('retry-after'), nowMs) }
    default:
      return { kind }
  }
}

/** The size that a 416 tells: `bytes *\/SIZE`. */
function readTotal(header: string | undefined): number | null {
  const match = /^bytes \*\/(\d{1,15})$/.exec(header ?? '')
  return match === null ? null : Number(match[1])
}

/** What tells one version of the file from another: a strong ETag, and the date. */
export function readValidators(head: ResponseHead): {
  readonly etag: string | null
  readonly lastModified: string | null
} {
  const etag = head.headers.get('etag')
  return {
    etag: etag?.startsWith('"') === true ? etag : null,
    lastModified: head.headers.get('last-modified') ?? null,
  }
}

/** True for an answer that says itself that it is a web page. */
export function isPageType(contentType: string | undefined): boolean {
  return /^text\/html\b/i.test(contentType ?? '')
}

/** True for the first bytes of a web page, which sites send with status 200 in place of a file that wants a login. */
export function isPage(bytes: Uint8Array): boolean {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 256)).replace(/^(\xef\xbb\xbf)?\s*/, '')
  return /^(<!doctype html|<html|<head|<script|<!--)/i.test(text)
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
