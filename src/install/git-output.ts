import type { ErrorType } from '../errors.ts'

const TYPES: readonly (readonly [RegExp, ErrorType])[] = [
  // Where git does not say why it cannot write, the disk is full.
  [/No space left on device|Disk quota exceeded|unable to write (new index )?file/i, 'disk_full'],
  [/Could not resolve host/i, 'dns_failure'],
  [/Authentication failed|could not read Username|Permission denied|returned error: 40[13]/i, 'auth_failed'],
  [/repository '[^']*' not found|returned error: (404|410)/i, 'http_error'],
  [/certificate|SSL|TLS/, 'tls_failure'],
  [/Connection timed out|Operation too slow|timed out/i, 'network_timeout'],
  [/Failed to connect|Couldn't connect|Connection refused|Network is unreachable/i, 'network_unreachable'],
]

/** The kind of failure that git's words (LC_ALL=C) tell of. */
export function gitFailureType(stderr: string): ErrorType {
  return TYPES.find(([pattern]) => pattern.test(stderr))?.[1] ?? 'git_failed'
}

/** True when the remote answered and does not have what was asked for. */
export function isMissingRevision(stderr: string): boolean {
  return /couldn't find remote ref|not our ref|unadvertised object|bad object|no such remote ref/i.test(stderr)
}

const UNUSABLE = [
  /\.lock': File exists|not a git repository|corrupt|object file .* is empty|bad pack header|shallow file/i,
  /packfile|pack file|index file|non-monotonic index|bad packed object|inflate|unknown object type|too short/i,
  /(failed|unable) to (read|unpack)|bad (object|tree|revision)|not a (tree|commit|valid object)|missing (blob|tree|commit)/i,
  /could not parse|invalid sha1 pointer|did not send all necessary objects|remote did not send/i,
]

/** True when git's words tell of a repository on disk that only making it anew repairs. */
export function isUnusableMirror(text: string): boolean {
  return UNUSABLE.some((pattern) => pattern.test(text))
}

/** The line of git's stderr that says why, at most 300 characters, without user and password of any URL. */
export function failureLine(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => line.trim() !== '')
  const line = lines.find((text) => /^(fatal|error|remote: (fatal|error)):/i.test(text)) ?? lines.at(-1) ?? 'git failed'
  return line.replace(/:\/\/[^/\s]*@/g, '://').slice(0, 300)
}

const RECEIVED = /^Receiving objects: .*, ([0-9]+(?:\.[0-9]+)?) (bytes|KiB|MiB|GiB)\b/
const UNITS: Readonly<Record<string, number>> = { bytes: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }

/** Bytes that a line of git's progress says have arrived; undefined for any other line. */
export function receivedBytes(line: string): number | undefined {
  const [, number, unit = ''] = RECEIVED.exec(line) ?? []
  const factor = UNITS[unit]
  return number === undefined || factor === undefined ? undefined : Number(number) * factor
}
