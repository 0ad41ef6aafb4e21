import { type ErrorCode, MachineError } from '../errors.ts'
import { withoutUser } from '../install/component-safety.ts'
import { failureLine, gitFailureType, receivedBytes } from '../install/git-output.ts'
import type { Exec, ExecResult } from './ports.ts'

const TIME_LIMIT_MS = 30 * 60_000
const MAX_BYTES = 4 * 2 ** 30
const STALL_S = 60

/** What git(1) is run with. */
export interface GitCommandOptions {
  readonly exec: Exec
  readonly env: Readonly<Record<string, string>>
  readonly allowInsecure: boolean
  /** Thrown when git fails, and when a revision does not exist. */
  readonly codes: { readonly failed: ErrorCode; readonly missing: ErrorCode }
  readonly signal: AbortSignal
  readonly onProgress: (line: string) => void
  /** The most that one fetch may receive; 4 GiB by default. */
  readonly maxBytes?: number
  /** Seconds that a server may send less than 1,000 bytes a second; 60 by default. */
  readonly stallSeconds?: number
}

/** git(1) without prompts, hooks, templates and configuration of the user; `failed` makes an error of how it ended. */
export interface GitCommand {
  readonly maxBytes: number
  /** May reach out to a remote. Throws CM1709 when more than `maxBytes` arrive, which ends it. */
  remote(url: string, args: readonly string[]): Promise<ExecResult>
  /** Reaches nothing but files, and takes no configuration of the host. */
  local(args: readonly string[]): Promise<ExecResult>
  failed(url: string, result: ExecResult): MachineError
  missing(url: string, wanted: string): MachineError
  tooLarge(url: string, bytes: number): MachineError
}

/** Opens git(1) for one installer. */
export function openGitCommand(options: GitCommandOptions): GitCommand {
  const { codes, maxBytes = MAX_BYTES, stallSeconds = STALL_S } = options
  const safe = [...SAFE_OPTIONS, '-c', `http.lowSpeedTime=${stallSeconds}`]

  async function run(
    args: readonly string[],
    env: Readonly<Record<string, string>>,
    signal: AbortSignal,
    onLine: (line: string) => void,
  ): Promise<ExecResult> {
    const result = await options.exec.run(['git', ...safe, ...args], {
      cwd: '/',
      env: { ...options.env, ...GIT_ENVIRONMENT, ...env },
      timeoutMs: TIME_LIMIT_MS,
      signal,
      onLine,
    })
    options.signal.throwIfAborted()
    return result
  }

  const tooLarge = (url: string, bytes: number): MachineError =>
    new MachineError(
      'CM1709',
      `${withoutUser(url)}: received ${inMiB(bytes)}, which is over the limit of ${inMiB(maxBytes)}`,
    )

  return {
    maxBytes,
    async remote(url, args) {
      const cut = new AbortController()
      let received = 0
      const watch = (line: string): void => {
        options.onProgress(line)
        received = Math.max(received, receivedBytes(line) ?? 0)
        if (received > maxBytes) cut.abort()
      }
      const env = { GIT_ALLOW_PROTOCOL: options.allowInsecure ? 'https:ssh:http:file' : 'https:ssh' }
      const result = await run(args, env, AbortSignal.any([options.signal, cut.signal]), watch)
      if (received > maxBytes) throw tooLarge(url, received)
      return result
    },
    local: (args) =>
      run(args, { GIT_ALLOW_PROTOCOL: 'file', GIT_CONFIG_NOSYSTEM: '1' }, options.signal, options.onProgress),
    failed(url, result) {
      const detail = result.timedOut ? 'git ran out of time' : failureLine(result.stderr)
      const text = `${withoutUser(url)}: ${detail}`
      const type = result.timedOut ? 'network_timeout' : gitFailureType(result.stderr)
      if (type === 'disk_full') return new MachineError('CM0402', text)
      const hint = HINTS.find(([pattern]) => pattern.test(result.stderr))?.[1]
      return new MachineError(codes.failed, text, { type, ...(hint === undefined ? {} : { hint }) })
    },
    missing: (url, wanted) => new MachineError(codes.missing, `${withoutUser(url)} has no ${wanted}`),
    tooLarge,
  }
}

/** The failure of the file system as this machine tells it: CM0402 for a full disk, anything else as it is. */
export function toDiskError(thrown: unknown): unknown {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return thrown
  return new MachineError('CM0402', thrown instanceof Error ? thrown.message : String(thrown), { cause: thrown })
}

const inMiB = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`

const SAFE_OPTIONS: readonly string[] = [
  ['core.hooksPath', '/dev/null'],
  ['protocol.ext.allow', 'never'],
  ['protocol.version', '2'],
  ['safe.directory', '*'],
  ['advice.detachedHead', 'false'],
  ['gc.auto', '0'],
  ['maintenance.auto', 'false'],
  ['submodule.recurse', 'false'],
  ['credential.interactive', 'false'],
  ['http.lowSpeedLimit', '1000'],
  // One pack a fetch: loose objects cost twice the time, and a pack is one file to check and to copy.
  ['fetch.unpackLimit', '1'],
  // The cache may be lost to a power cut and is checked before it is used; a generation is flushed as a whole at its end.
  ['core.fsync', 'none'],
  // The commit is named by its hash and index-pack computes every hash anew; fsck's taste beyond that refuses old, honest repositories.
  ['fetch.fsckObjects', 'false'],
].flatMap(([name, value]) => ['-c', `${name}=${value}`])

const GIT_ENVIRONMENT: Readonly<Record<string, string>> = {
  LC_ALL: 'C',
  GIT_TERMINAL_PROMPT: '0',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_LITERAL_PATHSPECS: '1',
  GIT_OPTIONAL_LOCKS: '0',
  GIT_SSH_COMMAND: 'ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15 -oServerAliveCountMax=4',
}

const HINTS: readonly (readonly [RegExp, string])[] = [
  [
    /transport '\w+' not allowed/,
    'Use an https or ssh address, or set ALLOW_INSECURE_SOURCES=1 for sources you trust.',
  ],
  [
    /repository '[^']*' not found|returned error: (404|410)/i,
    'Correct the URL of the repository; it may have been renamed, removed or made private.',
  ],
]
