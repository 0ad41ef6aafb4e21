import { join } from 'node:path'
import { type ErrorCode, MachineError } from '../errors.ts'
import { failureLine, gitFailureType, isMissingRevision, isUnusableMirror } from '../install/git-output.ts'
import { digest } from './digest.ts'
import type { FetchedRevision, Git, RemoteRef, Revision } from './install-ports.ts'
import type { Exec, ExecResult, Files } from './ports.ts'

const TIME_LIMIT_MS = 30 * 60_000
const FULL_ID = /^[0-9a-f]{40}$/
const KEPT = 'refs/comfy-machine'

/** What the mirrors need; `codes` are thrown when a fetch fails and when a revision does not exist. */
export interface GitOptions {
  readonly exec: Exec
  readonly files: Files
  /** Directory of the bare mirrors. */
  readonly mirrors: string
  readonly env: Readonly<Record<string, string>>
  readonly allowInsecure: boolean
  readonly codes: { readonly failed: ErrorCode; readonly missing: ErrorCode }
  readonly signal: AbortSignal
  readonly onProgress: (line: string) => void
}

/** git(1) without prompts, hooks, templates and configuration of the user. */
export function openGit(options: GitOptions): Git {
  const { files } = options
  const queues = new Map<string, Promise<unknown>>()
  const mirrorOf = (url: string): string => join(options.mirrors, `${digest(url).slice(0, 20)}.git`)

  async function git(args: readonly string[], protocols: string): Promise<ExecResult> {
    const result = await options.exec.run(['git', ...SAFE_OPTIONS, ...args], {
      cwd: '/',
      env: { ...options.env, ...GIT_ENVIRONMENT, GIT_ALLOW_PROTOCOL: protocols },
      timeoutMs: TIME_LIMIT_MS,
      signal: options.signal,
      onLine: (line) => options.onProgress(line),
    })
    options.signal.throwIfAborted()
    return result
  }
  const remote = (args: readonly string[]): Promise<ExecResult> =>
    git(args, options.allowInsecure ? 'https:ssh:http:file' : 'https:ssh')
  const local = (args: readonly string[]): Promise<ExecResult> => git(args, 'file')

  function failed(url: string, result: ExecResult): MachineError {
    const detail = result.timedOut ? 'git ran out of time' : failureLine(result.stderr)
    return new MachineError(options.codes.failed, `${withoutUser(url)}: ${detail}`, {
      type: gitFailureType(result.stderr),
      ...(/transport '\w+' not allowed/.test(result.stderr) ? { hint: INSECURE_HINT } : {}),
    })
  }

  async function succeed(url: string, pending: Promise<ExecResult>): Promise<ExecResult> {
    const result = await pending
    if (result.code !== 0) throw failed(url, result)
    return result
  }

  async function openMirror(url: string): Promise<string> {
    const mirror = mirrorOf(url)
    if ((await files.stat(join(mirror, 'HEAD'))) !== undefined) return mirror
    const fresh = `${mirror}.new`
    await files.makeDirectory(options.mirrors)
    await files.remove(fresh)
    await files.remove(mirror)
    await succeed(url, local(['init', '--quiet', '--bare', fresh]))
    await succeed(url, local(['-C', fresh, 'config', 'uploadpack.allowAnySHA1InWant', 'true']))
    await files.rename(fresh, mirror)
    return mirror
  }

  async function commitIn(mirror: string, name: string): Promise<string | undefined> {
    const result = await local(['-C', mirror, 'rev-parse', '--quiet', '--verify', `${name}^{commit}`])
    return result.code === 0 ? result.stdout.trim() : undefined
  }

  /** The commit, or the result of the fetch that did not bring it. */
  async function fetchOne(mirror: string, url: string, from: string): Promise<string | ExecResult> {
    const spec = FULL_ID.test(from) ? `+${from}:${KEPT}/${from}` : `+${from}:${KEPT}/tip`
    const result = await remote(['-C', mirror, 'fetch', ...FETCH_OPTIONS, '--depth=1', '--', url, spec])
    if (result.code !== 0) return result
    const commit = await commitIn(mirror, FULL_ID.test(from) ? from : `${KEPT}/tip`)
    if (commit === undefined) return result
    await local(['-C', mirror, 'update-ref', `${KEPT}/${commit}`, commit])
    return commit
  }

  async function fetchWhole(mirror: string, url: string, wanted: string): Promise<string> {
    const shallow = (await files.stat(join(mirror, 'shallow'))) !== undefined
    const depth = shallow ? ['--unshallow'] : []
    const specs = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*']
    const result = await remote(['-C', mirror, 'fetch', ...FETCH_OPTIONS, ...depth, '--', url, ...specs])
    if (result.code !== 0) throw failed(url, result)
    const commit = await commitIn(mirror, wanted)
    if (commit === undefined) throw missing(url, wanted)
    await local(['-C', mirror, 'update-ref', `${KEPT}/${commit}`, commit])
    return commit
  }

  function missing(url: string, wanted: string): MachineError {
    return new MachineError(options.codes.missing, `${withoutUser(url)} has no ${wanted}`)
  }

  async function fetchRevision(url: string, revision: Revision): Promise<FetchedRevision> {
    const mirror = await openMirror(url)
    const { commit, ref } = revision
    if (commit) {
      const present = await commitIn(mirror, commit)
      if (present !== undefined) return { commit: present, mirror: 'reused' }
      if (!FULL_ID.test(commit)) return fresh(await fetchWhole(mirror, url, commit))
      const fetched = await fetchOne(mirror, url, commit)
      if (typeof fetched === 'string') return fresh(fetched)
      if (!isMissingRevision(fetched.stderr)) throw failed(url, fetched)
      return fresh(await fetchWhole(mirror, url, commit))
    }
    const names = ref ? (ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`]) : ['HEAD']
    for (const name of names) {
      const fetched = await fetchOne(mirror, url, name)
      if (typeof fetched === 'string') return fresh(fetched)
      if (!isMissingRevision(fetched.stderr)) throw failed(url, fetched)
    }
    throw missing(url, ref ? `branch or tag ${ref}` : 'HEAD')
  }

  /** One fetch at a time per mirror; a mirror that a killed run left unusable is made anew. */
  function fetch(url: string, revision: Revision): Promise<FetchedRevision> {
    const before = queues.get(url) ?? Promise.resolve()
    const attempt = async (): Promise<FetchedRevision> => {
      try {
        return await fetchRevision(url, revision)
      } catch (error) {
        if (!(error instanceof MachineError) || !isUnusableMirror(error.message)) throw error
        await files.remove(mirrorOf(url))
        return fetchRevision(url, revision)
      }
    }
    const pending = before.then(attempt, attempt)
    queues.set(url, pending)
    return pending
  }

  return {
    fetch,
    async listRemote(url, patterns) {
      const result = await succeed(url, remote(['ls-remote', '--quiet', '--', url, ...patterns]))
      return result.stdout.split('\n').flatMap((line): RemoteRef[] => {
        const [id, ref] = line.split('\t')
        return id && ref ? [{ id, ref }] : []
      })
    },
    async readFile(url, commit, path) {
      const result = await local(['-C', mirrorOf(url), 'show', `${commit}:${path}`])
      return result.code === 0 ? result.stdout : undefined
    },
    async checkout(url, commit, directory, { recursive }) {
      await files.makeDirectory(directory)
      const here = ['-C', directory]
      if ((await files.stat(join(directory, '.git'))) === undefined) {
        await succeed(url, local(['init', '--quiet', directory]))
      }
      await files.remove(join(directory, '.git', 'index.lock'))
      await files.remove(join(directory, '.git', 'shallow.lock'))
      await succeed(url, local([...here, 'config', 'remote.origin.url', url]))
      await succeed(
        url,
        local([...here, 'fetch', '--quiet', '--no-tags', '--depth=1', `file://${mirrorOf(url)}`, commit]),
      )
      await succeed(url, local([...here, 'checkout', '--quiet', '--force', '--detach', commit]))
      if (!recursive || (await files.stat(join(directory, '.gitmodules'))) === undefined) return
      const update = ['submodule', 'update', '--init', '--recursive', '--force', '--depth=1', '--jobs=4']
      await succeed(url, remote([...here, ...update]))
    },
  }
}

const fresh = (commit: string): FetchedRevision => ({ commit, mirror: 'fetched' })

const SAFE_OPTIONS: readonly string[] = [
  ['core.hooksPath', '/dev/null'],
  ['protocol.ext.allow', 'never'],
  ['safe.directory', '*'],
  ['init.defaultBranch', 'main'],
  ['init.templateDir', ''],
  ['advice.detachedHead', 'false'],
  ['gc.auto', '0'],
  ['http.lowSpeedLimit', '1000'],
  ['http.lowSpeedTime', '60'],
].flatMap(([name, value]) => ['-c', `${name}=${value}`])

const INSECURE_HINT = 'Use an https or ssh address, or set ALLOW_INSECURE_SOURCES=1 for sources you trust.'

const FETCH_OPTIONS: readonly string[] = [
  '--progress',
  '--no-tags',
  '--force',
  '--no-write-fetch-head',
  '--no-recurse-submodules',
]

const GIT_ENVIRONMENT: Readonly<Record<string, string>> = {
  LC_ALL: 'C',
  GIT_TERMINAL_PROMPT: '0',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_SSH_COMMAND: 'ssh -oBatchMode=yes',
}

function withoutUser(url: string): string {
  return url.replace(/^([a-z]+:\/\/)[^@/]*@/, '$1')
}
