import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import { withoutUser } from '../install/component-safety.ts'
import { mapLimited } from '../install/context.ts'
import { isUnusableMirror } from '../install/git-output.ts'
import { joinSubmodules, parseModules, type Submodule, submoduleUrl } from '../install/git-submodules.ts'
import { checkOutMirror, submoduleDirectory } from './git-checkout.ts'
import { type GitCommandOptions, openGitCommand, toDiskError } from './git-command.ts'
import { type Fetching, fetchCommit, fetchReference } from './git-fetch.ts'
import { openMirrors } from './git-mirrors.ts'
import type { FetchedRevision, Git, RemoteRef, Revision } from './install-ports.ts'
import type { ExecResult, Files } from './ports.ts'

const FULL_ID = /^[0-9a-f]{40}$/
const SHORT_ID = /^[0-9a-f]{4,39}$/
const MAX_SUBMODULES = 256
const SUBMODULES_AT_ONCE = 4

/** What the mirrors need; `codes` are thrown when a fetch fails and when a revision does not exist. */
export interface GitOptions extends GitCommandOptions {
  readonly files: Files
  /** Directory of the bare mirrors. */
  readonly mirrors: string
}

/** Git repositories of one installer. Beside `codes`: CM0402, CM1607, CM1709, CM1710. */
export function openGit(options: GitOptions): Git {
  const { files } = options
  const git = openGitCommand(options)
  const mirrors = openMirrors(files, options.mirrors)
  const fetching: Fetching = { git, mirrors, files }
  const pending = new Map<string, Promise<FetchedRevision>>()

  async function fetchRevision(url: string, { commit, ref }: Revision): Promise<FetchedRevision> {
    const wanted = commit?.toLowerCase() ?? ''
    if (commit && (FULL_ID.test(wanted) || SHORT_ID.test(wanted))) {
      const present = FULL_ID.test(wanted) ? [wanted] : await knownAs(url, wanted)
      const [only] = present
      if (present.length === 1 && only !== undefined && (await mirrors.isWhole(url, only))) {
        return { commit: only, mirror: 'reused' }
      }
      return { commit: await fetchCommit(fetching, url, wanted), mirror: 'fetched' }
    }
    return { commit: await fetchReference(fetching, url, commit || ref || null), mirror: 'fetched' }
  }

  async function knownAs(url: string, short: string): Promise<readonly string[]> {
    return (await mirrors.commits(url)).filter((commit) => commit.startsWith(short))
  }

  /** The same revision is fetched once, however many want it at the same time. */
  function fetchOnce(url: string, revision: Revision): Promise<FetchedRevision> {
    const key = JSON.stringify([url, revision.commit || null, revision.ref || null])
    const running = pending.get(key)
    if (running !== undefined) return running
    const started = fetchRevision(url, revision).finally(() => pending.delete(key))
    pending.set(key, started)
    return started
  }

  /** Runs git on a commit's mirror; one that is damaged deeper than its files tell is made anew, once. */
  async function onMirror(
    url: string,
    commit: string,
    run: (mirror: string) => Promise<ExecResult>,
  ): Promise<ExecResult> {
    if (!(await mirrors.isWhole(url, commit))) await fetchOnce(url, { commit })
    const result = await run(mirrors.path(url, commit))
    if (result.code === 0 || !isUnusableMirror(result.stderr)) return result
    await mirrors.drop(url, commit)
    await fetchOnce(url, { commit })
    return run(mirrors.path(url, commit))
  }

  async function listSubmodules(url: string, commit: string): Promise<readonly Submodule[]> {
    const blob = `--blob=${commit}:.gitmodules`
    const modules = await onMirror(url, commit, (mirror) =>
      git.local(['--git-dir', mirror, 'config', '-z', blob, '--get-regexp', '^submodule\\..*\\.(path|url)$']),
    )
    // 1: it has no such entry; no blob: the commit has no .gitmodules.
    if (modules.code === 1 || /unable to resolve config blob/.test(modules.stderr)) return []
    if (modules.code !== 0) throw git.failed(url, modules)
    const urls = parseModules(modules.stdout)
    const tree = await onMirror(url, commit, (mirror) =>
      git.local(['--git-dir', mirror, 'ls-tree', '-z', '--full-tree', commit, '--', ...urls.keys()]),
    )
    if (tree.code !== 0) throw git.failed(url, tree)
    return joinSubmodules(urls, tree.stdout)
  }

  /** Goes through the submodules of a commit whose mirror is there, and theirs; `enter` makes what it answers be gone through. */
  async function visitSubmodules(
    parent: { readonly url: string; readonly commit: string; readonly directory: string },
    enter: (url: string, submodule: Submodule, parent: string) => Promise<string>,
    count: { left: number },
  ): Promise<void> {
    const submodules = await listSubmodules(parent.url, parent.commit)
    count.left -= submodules.length
    if (count.left < 0) {
      throw new MachineError('CM1709', `${withoutUser(parent.url)} has more than ${MAX_SUBMODULES} submodules in all`)
    }
    await mapLimited(submodules, SUBMODULES_AT_ONCE, async (submodule) => {
      const url = submoduleUrl(parent.url, submodule, options.allowInsecure)
      const directory = await enter(url, submodule, parent.directory)
      await visitSubmodules({ url, commit: submodule.commit, directory }, enter, count)
    })
  }

  async function checkOut(url: string, commit: string, directory: string, submodules: boolean): Promise<void> {
    const target = { url, commit, directory, submodules }
    const result = await onMirror(url, commit, (mirror) => checkOutMirror(git, files, mirror, target))
    if (result.code !== 0) throw git.failed(url, result)
  }

  return {
    async fetch(url, revision, { recursive = false } = {}) {
      refuseOptions(url)
      return guarded(async () => {
        const fetched = await fetchOnce(url, revision)
        const { commit } = fetched
        let { mirror } = fetched
        const enter = async (from: string, submodule: Submodule): Promise<string> => {
          if ((await fetchOnce(from, { commit: submodule.commit })).mirror === 'fetched') mirror = 'fetched'
          return ''
        }
        if (recursive) await visitSubmodules({ url, commit, directory: '' }, enter, { left: MAX_SUBMODULES })
        return { commit, mirror }
      })
    },
    async listRemote(url, patterns) {
      refuseOptions(url)
      const result = await git.remote(url, ['ls-remote', '--quiet', '--', url, ...patterns])
      if (result.code !== 0) throw git.failed(url, result)
      return result.stdout.split('\n').flatMap((line): RemoteRef[] => {
        const [id, ref] = line.split('\t')
        return id && ref ? [{ id, ref }] : []
      })
    },
    async readFile(url, commit, path) {
      const result = await onMirror(url, commit, (mirror) =>
        git.local(['--git-dir', mirror, 'cat-file', 'blob', `${commit}:${path}`]),
      )
      if (result.code === 0) return result.stdout
      if (/does not exist in/.test(result.stderr)) return undefined
      throw git.failed(url, result)
    },
    checkout: (url, commit, directory, { recursive }) =>
      guarded(async () => {
        await checkOut(url, commit, directory, recursive)
        const hasModules = async (inside: string): Promise<boolean> =>
          (await files.lstat(join(inside, '.gitmodules'))) !== undefined
        if (!recursive || !(await hasModules(directory))) return
        const enter = async (from: string, submodule: Submodule, parent: string): Promise<string> => {
          const inside = await submoduleDirectory(files, from, parent, submodule.path)
          await checkOut(from, submodule.commit, inside, true)
          return inside
        }
        await visitSubmodules({ url, commit, directory }, enter, { left: MAX_SUBMODULES })
      }),
  }
}

/** A URL that git would take for an option or for a program to run. */
function refuseOptions(url: string): void {
  const why = url.startsWith('-') ? 'starts with -' : url.includes('::') ? 'names a remote helper' : undefined
  if (why !== undefined) throw new MachineError('CM1607', `the URL ${JSON.stringify(withoutUser(url))} ${why}`)
}

async function guarded<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    throw toDiskError(error)
  }
}
