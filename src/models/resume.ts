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
