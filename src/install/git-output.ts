import type { ErrorType } from '../errors.ts'

const TYPES: readonly (readonly [RegExp, ErrorType])[] = [
  [/No space left on device|Disk quota exceeded/i, 'disk_full'],
  [/Could not resolve host/i, 'dns_failure'],
  [/Authentication failed|could not read Username|Permission denied|returned error: 40[13]/i, 'auth_failed'],
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

/** True when a mirror is broken in a way that only making it anew repairs. */
export function isUnusableMirror(text: string): boolean {
  return /\.lock': File exists|not a git repository|corrupt|object file .* is empty|bad pack header/i.test(text)
}

/** The line of git's stderr that says why, at most 300 characters. */
export function failureLine(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => line.trim() !== '')
  const line = lines.find((text) => /^(fatal|error|remote: (fatal|error)):/i.test(text)) ?? lines.at(-1) ?? 'git failed'
  return line.replace(/:\/\/[^@/\s]*@/g, '://').slice(0, 300)
}
