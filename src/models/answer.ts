import { parseRetryAfter } from '../install/retry.ts'
import type { ResponseHead } from './response-head.ts'
import { judgeStatus, parseContentRange } from './resume.ts'

/** What the head of an answer means for a file that is being fetched. */
export type Answer =
  /** All of the file from its first byte on; `total` null when its length is not told. */
  | { readonly kind: 'whole'; readonly total: number | null }
  | { readonly kind: 'part'; readonly from: number; readonly total: number }
  /** There are no such bytes (416). */
  | { readonly kind: 'no-range' }
  | { readonly kind: 'redirect'; readonly location: string | undefined }
  | { readonly kind: 'auth' }
  | { readonly kind: 'retry'; readonly waitMs: number }
  | { readonly kind: 'refused' }

/** Reads the head of an answer; a 206 whose range cannot be understood is refused. */
export function readAnswer(head: ResponseHead, nowMs: number): Answer {
  const kind = judgeStatus(head.status)
  switch (kind) {
    case 'whole':
      return { kind, total: head.length }
    case 'part': {
      const range = parseContentRange(head.headers.get('content-range'))
      if (range === undefined || range.total === null) return { kind: 'refused' }
      return { kind, from: range.from, total: range.total }
    }
    case 'range':
      return { kind: 'no-range' }
    case 'redirect':
      return { kind, location: head.headers.get('location') }
    case 'retry':
      return { kind, waitMs: parseRetryAfter(head.headers.get('retry-after'), nowMs) }
    default:
      return { kind }
  }
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

/** True for the first bytes of a web page, which sites send with status 200 in place of a file that wants a login. */
export function isPage(bytes: Uint8Array): boolean {
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, 256)).replace(/^(\xef\xbb\xbf)?\s*/, '')
  return /^(<!doctype html|<html|<head|<script|<!--)/i.test(text)
}
