/** The outside world of the installers: git, Python, HTTP, downloads. Everything but `src/host/` sees only these interfaces. */
import type { Progress } from '../report.ts'
import type { Clock, Exec, Files, Journal, Notify, Report, Secrets } from './ports.ts'

/** What is wanted of a repository: a commit, else a branch or tag, else the remote's HEAD. */
export interface Revision {
  readonly commit?: string | null
  readonly ref?: string | null
}

/** One line of git-ls-remote(1). */
export interface RemoteRef {
  readonly ref: string
  readonly id: string
}

/** A revision in its mirror: its full commit id, and whether the mirror had it already. */
export interface FetchedRevision {
  readonly commit: string
  readonly mirror: 'reused' | 'fetched'
}

/** Git repositories through bare mirrors in the cache. Failures throw the codes that the port was opened with. */
export interface Git {
  listRemote(url: string, patterns: readonly string[]): Promise<readonly RemoteRef[]>
  /** Makes a revision present in the mirror of `url`, with `recursive` its submodules in theirs; no network when all is there. */
  fetch(url: string, revision: Revision, options?: { readonly recursive?: boolean }): Promise<FetchedRevision>
  /** Text of a file in a commit that was fetched; undefined when the commit does not have it. */
  readFile(url: string, commit: string, path: string): Promise<string | undefined>
  /** Puts the files of a fetched commit into `directory`, whose untracked files stay. */
  checkout(url: string, commit: string, directory: string, options: { readonly recursive: boolean }): Promise<void>
}

/** A requirements file and whom to name when it is at fault. */
export interface RequirementsFile {
  /** `ComfyUI`, or `custom node NAME`. */
  readonly owner: string
  readonly path: string
}

/**
 * What a resolution of requirement files came to. `requirements` is the same text on every host. `detail` holds the
 * resolver's words, at most 8000 characters, for `explainConflict`; `owner` is whose file is at fault where that is clear.
 */
export type Resolution =
  | { readonly ok: true; readonly requirements: string; readonly packages: number }
  | {
      readonly ok: false
      readonly reason: 'conflict' | 'invalid' | 'failed'
      readonly detail: string
      readonly owner?: string
    }

/** The interpreter that environments are made from. */
export interface Interpreter {
  /** Real path, e.g. `/usr/bin/python3.13`. */
  readonly path: string
  /** e.g. `3.13`. */
  readonly version: string
  /** e.g. `x86_64`. */
  readonly machine: string
}

/** Python environments whose packages are resolved first, together, and then installed exactly so. */
export interface PythonEnvironments {
  readonly installer: 'uv' | 'pip'
  /** Throws CM1402 when there is none, CM1404 when the wanted installer is not there. */
  interpreter(): Promise<Interpreter>
  /** Resolves all files together into pinned requirements with hashes. Nothing is installed. */
  resolve(files: readonly RequirementsFile[]): Promise<Resolution>
  /** Makes a virtual environment with pip in it. Throws CM1402. */
  create(environment: string): Promise<void>
  /** Installs pinned requirements, without resolving; hashes are enforced. Throws CM1403, CM0402. */
  install(environment: string, requirementsFile: string): Promise<void>
  /** Compiles all Python files below directories to bytecode; files that cannot be compiled are left. */
  compile(environment: string, directories: readonly string[]): Promise<void>
  /** Distributions in an environment: normalised name to version, e.g. `torch` to `2.9.0+cu128`. */
  distributions(environment: string): Promise<ReadonlyMap<string, string>>
  /** Variables under which a script runs within the environment, without any secret but the addresses of package indexes. */
  scriptEnvironment(environment: string): Readonly<Record<string, string>>
}

/** One HTTP request; times in milliseconds. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
  readonly connectTimeoutMs: number
  readonly timeoutMs: number
  readonly maxBytes: number
}

/** An answer with its whole body; header names are lowercase. */
export interface HttpResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
}

/** HTTP without redirects and retries; a failed connection throws with errno in `code`, a body over the limit `EMSGSIZE`. */
export interface HttpClient {
  request(request: HttpRequest): Promise<HttpResponse>
}

/** Trees of files. */
export interface Trees {
  /** Copies what is not there yet; existing files stay as they are. */
  copyMissing(from: string, to: string): Promise<void>
  /** Paths of all files below a directory, relative to it; empty when it does not exist. */
  listFiles(directory: string): Promise<readonly string[]>
}

/** Where an installer says how far it is, see `src/report.ts`. */
export interface ProgressReport {
  write(progress: Progress): void
}

/** What every installer has of the host. */
export interface InstallHost {
  readonly clock: Clock
  readonly files: Files
  readonly exec: Exec
  readonly notify: Notify
  readonly journal: Journal
  readonly report: Report
  readonly progress: ProgressReport
  /** `$INVOCATION_ID` of the unit; empty where systemd did not start this process. */
  readonly invocationId: string
  readonly secrets: Secrets
  readonly signal: AbortSignal
  /** sha256 of a text in lowercase hex. */
  readonly digest: (text: string) => string
}
