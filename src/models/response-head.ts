/** The head of an HTTP answer. */
export interface ResponseHead {
  readonly status: number
  readonly reason: string
  /** By lowercase name; of a name that comes twice both values, joined as RFC 9110, 5.3 says. */
  readonly headers: ReadonlyMap<string, string>
  /** Bytes of the body; null when only its end tells. */
  readonly length: number | null
  /** The connection takes another request after the body. */
  readonly isKept: boolean
}

/** What stands in the head of an answer before the body, HTTP/1.x (RFC 9112). Throws RangeError when it is none. */
export function parseResponseHead(text: string): ResponseHead {
  const [statusLine = '', ...lines] = text.split('\r\n')
  const match = /^HTTP\/1\.([01]) (\d{3})(?: (.*))?$/.exec(statusLine)
  if (match === null) throw new RangeError('the answer is not HTTP/1.1')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    const name = line.slice(0, Math.max(0, colon)).toLowerCase()
    // A folded line or a name with white space is how answers are smuggled (RFC 9112, 5.1).
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) throw new RangeError('the answer has a header that is none')
    const value = line.slice(colon + 1).trim()
    const known = headers.get(name)
    headers.set(name, known === undefined ? value : `${known}, ${value}`)
  }
  return headOf(Number(match[2]), match[3] ?? '', headers, match[1] === '1')
}

/** A head out of its parts. Throws RangeError for a Content-Length that is none. */
export function headOf(
  status: number,
  reason: string,
  headers: ReadonlyMap<string, string>,
  isPersistent: boolean,
): ResponseHead {
  const length = headers.get('content-length')
  if (length !== undefined && !/^\d{1,15}$/.test(length)) throw new RangeError('the answer has no usable length')
  const isCoded = headers.has('transfer-encoding')
  const isEmpty = status === 204 || status === 304
  const connection = headers.get('connection')?.toLowerCase() ?? ''
  return {
    status,
    reason,
    headers,
    length: isEmpty ? 0 : isCoded || length === undefined ? null : Number(length),
    isKept: isPersistent && !/\bclose\b/.test(connection),
  }
}
