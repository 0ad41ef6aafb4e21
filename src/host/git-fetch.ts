import { join } from 'node:path'
import { isMissingRevision, isUnusableMirror } from '../install/git-output.ts'
import type { GitCommand } from './git-command.ts'
import { listPacks, type Mirrors } from './git-mirrors.ts'
import type { ExecResult, Files } from './ports.ts'

const FULL_ID = /^[0-9a-f]{40}$/
const TIP = 'refs/comfy-machine/tip'

/** What a fetch works with. */
export interface Fetching {
  readonly git: GitCommand
  readonly mirrors: Mirrors
  readonly files: Files
}

/** Makes the mirror of a commit, named by its id or the begin of it, from its remote; answers the whole id. */
export async function fetchCommit(fetching: Fetching, url: string, wanted: string): Promise<string> {
  const { git } = fetching
  if (!FULL_ID.test(wanted)) return fetchWhole(fetching, url, wanted)
  const fetched = await fetchShallow(fetching, url, wanted)
  if (typeof fetched === 'string') return fetched
  // A server that hands out the tips of its refs only has it perhaps within their history.
  if (isMissingRevision(fetched.stderr)) return fetchWhole(fetching, url, wanted)
  throw git.failed(url, fetched)
}

/** Makes the mirror of what a branch, else a tag, is at now, or the remote's HEAD for null; answers the commit. */
export async function fetchReference(fetching: Fetching, url: string, ref: string | null): Promise<string> {
  const { git } = fetching
  const names = ref === null ? ['HEAD'] : ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`]
  for (const name of names) {
    const fetched = await fetchShallow(fetching, url, name)
    if (typeof fetched === 'string') return fetched
    if (!isMissingRevision(fetched.stderr)) throw git.failed(url, fetched)
  }
  throw git.missing(url, ref === null ? 'HEAD: it is empty, or has no default branch' : `branch or tag ${ref}`)
}

/** The commit, or how git failed. A mirror of another commit that is damaged deeper than its files tell is not begun with twice. */
async function fetchShallow(fetching: Fetching, url: string, from: string): Promise<string | ExecResult> {
  const seed = await newestMirror(fetching, url)
  if (seed === undefined) return fetchInto(fetching, url, from)
  const fetched = await fetchInto(fetching, url, from, fetching.mirrors.path(url, seed))
  if (typeof fetched === 'string' || isMissingRevision(fetched.stderr) || !isUnusableMirror(fetched.stderr)) {
    return fetched
  }
  await fetching.mirrors.drop(url, seed)
  return fetchInto(fetching, url, from)
}

async function newestMirror({ mirrors }: Fetching, url: string): Promise<string | undefined> {
  for (const commit of await mirrors.commits(url)) if (await mirrors.isWhole(url, commit)) return commit
  return undefined
}

async function fetchInto(
  { git, mirrors, files }: Fetching,
  url: string,
  from: string,
  seed?: string,
): Promise<string | ExecResult> {
  const repository = await mirrors.begin(seed)
  try {
    const before = await packBytes(files, repository)
    const result = await git.remote(url, ['-C', repository, ...FETCH, '--depth=1', '--', url, `+${from}:${TIP}`])
    if (result.code !== 0) return result
    const received = (await packBytes(files, repository)) - before
    if (received > git.maxBytes) throw git.tooLarge(url, received)
    const commit = await commitOf(git, files, repository)
    if (commit === undefined) throw git.missing(url, `commit ${from}`)
    await files.remove(join(repository, TIP))
    await mirrors.publish(repository, url, commit)
    return commit
  } finally {
    await mirrors.discard(repository)
  }
}

/** Looks for a commit in the history of all branches and tags. The mirror has the commit alone all the same. */
async function fetchWhole({ git, mirrors, files }: Fetching, url: string, wanted: string): Promise<string> {
  const history = await mirrors.begin()
  const repository = await mirrors.begin()
  try {
    const specs = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*']
    const result = await git.remote(url, ['-C', history, ...FETCH, '--', url, ...specs])
    if (result.code !== 0) throw git.failed(url, result)
    const received = await packBytes(files, history)
    if (received > git.maxBytes) throw git.tooLarge(url, received)
    const found = await git.local(['-C', history, 'rev-parse', '--quiet', '--verify', `${wanted}^{commit}`])
    if (found.code !== 0) throw git.missing(url, `commit ${wanted}`)
    const commit = found.stdout.trim()
    const spec = `+${commit}:${TIP}`
    const taken = await git.local(['-C', repository, ...FETCH, '--depth=1', '--', `file://${history}`, spec])
    if (taken.code !== 0) throw git.failed(url, taken)
    await files.remove(join(repository, TIP))
    await mirrors.publish(repository, url, commit)
    return commit
  } finally {
    await mirrors.discard(history)
    await mirrors.discard(repository)
  }
}

/** The commit of the tip. What git lists in `shallow` is one; for anything else git is asked, it may be a tag. */
async function commitOf(git: GitCommand, files: Files, repository: string): Promise<string | undefined> {
  const id = (await files.readText(join(repository, TIP)))?.trim() ?? ''
  const shallow = (await files.readText(join(repository, 'shallow')))?.split('\n') ?? []
  if (FULL_ID.test(id) && shallow.includes(id)) return id
  const result = await git.local(['-C', repository, 'rev-parse', '--quiet', '--verify', `${TIP}^{commit}`])
  return result.code === 0 ? result.stdout.trim() : undefined
}

async function packBytes(files: Files, repository: string): Promise<number> {
  const packs = (await listPacks(repository)).filter((name) => name.endsWith('.pack'))
  const stats = await Promise.all(packs.map((pack) => files.stat(join(repository, pack))))
  return stats.reduce((sum, found) => sum + (found?.bytes ?? 0), 0)
}

const FETCH: readonly string[] = [
  'fetch',
  '--progress',
  '--no-tags',
  '--force',
  '--no-write-fetch-head',
  '--no-recurse-submodules',
  '--no-auto-maintenance',
]
