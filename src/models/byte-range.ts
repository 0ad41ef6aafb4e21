import type { ByteRange } from './range-set.ts'

/**
 * What a Range header (RFC 9110, 14.2) asks for of a file of `size` bytes: one range, all of the file, or nothing that is
 * there (416). More ranges than one, another unit and what is malformed count as no header, as the RFC allows.
 */
export function parseRange(header: string | undefined, size: number): ByteRange | 'whole' | 'none' {
  const match = /^bytes=[ \t]*(?:(\d+)-(\d*)|-(\d+))[ \t]*$/i.exec(header ?? '')
  if (match === null) return 'whole'
  const [, first, last, suffix] = match
  if (suffix !== undefined) {
    if (Number(suffix) === 0) return 'none'
    // The last bytes of an empty file are all of it, which no Content-Range can say.
    return size === 0 ? 'whole' : { from: Math.max(0, size - Number(suffix)), to: size }
  }
  const from = Number(first)
  const to = last === '' ? size : Number(last) + 1
  if (to <= from && last !== '') return 'whole'
  return from >= size ? 'none' : { from, to: Math.min(to, size) }
}
