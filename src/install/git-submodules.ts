import { MachineError } from '../errors.ts'
import { safeGitUrl, withoutUser } from './component-safety.ts'

/** A submodule as its parent's commit names it; `url` as it stands in .gitmodules, perhaps relative. */
export interface Submodule {
  readonly path: string
  readonly url: string
  readonly commit: string
}

/** Entries of .gitmodules out of `git config -z --get-regexp`, by path; the last of several counts. */
export function parseModules(text: string): ReadonlyMap<string, string> {
  const modules = new Map<string, { path?: string; url?: string }>()
  for (const entry of text.split('\0')) {
    const at = entry.indexOf('\n')
    const [, name = '', field] = /^submodule\.(.*)\.(path|url)$/s.exec(entry.slice(0, Math.max(at, 0))) ?? []
    if (field !== 'path' && field !== 'url') continue
    modules.set(name, { ...modules.get(name), [field]: entry.slice(at + 1) })
  }
  const urls = new Map<string, string>()
  for (const { path, url } of modules.values()) {
    if (path !== undefined && url !== undefined) urls.set(path.replace(/\/+$/, ''), url)
  }
  return urls
}

/** Gitlinks out of `git ls-tree -z`, each with the URL of its entry in .gitmodules. Throws CM1607 for a path that leads elsewhere. */
export function joinSubmodules(urls: ReadonlyMap<string, string>, tree: string): readonly Submodule[] {
  return tree.split('\0').flatMap((line): Submodule[] => {
    const [, commit, path = ''] = /^160000 commit ([0-9a-f]{40})\t(.+)$/s.exec(line) ?? []
    const url = urls.get(path)
    if (commit === undefined || url === undefined) return []
    if (path.split('/').some((part) => part === '' || part === '.' || part === '..' || /^\.git$/i.test(part))) {
      throw new MachineError('CM1607', `submodule ${JSON.stringify(path)} is no path within its repository`)
    }
    return [{ path, url, commit }]
  })
}

/** The URL of a submodule, a relative one below its parent's as git-submodule(1) resolves it. Throws CM1607 for one that is not allowed. */
export function submoduleUrl(parent: string, { path, url }: Submodule, allowInsecure: boolean): string {
  try {
    return safeGitUrl(/^\.\.?\//.test(url) ? resolveRelative(parent, url) : url, path, allowInsecure)
  } catch (error) {
    if (!(error instanceof MachineError)) throw error
    const why = error.message.slice(`custom node ${path}: `.length)
    throw new MachineError('CM1607', `${withoutUser(parent)}, submodule ${path}: ${why}`, { cause: error })
  }
}

/** As relative_url() in git's remote.c: every `../` takes the last part of the parent away, at a slash or else at the colon of `host:path`. */
function resolveRelative(parent: string, url: string): string {
  let base = parent.replace(/\/$/, '')
  let rest = url
  let separator = '/'
  for (;;) {
    if (rest.startsWith('./')) {
      rest = rest.slice(2)
    } else if (rest.startsWith('../')) {
      rest = rest.slice(3)
      const at = base.includes('/') ? base.lastIndexOf('/') : base.lastIndexOf(':')
      if (at >= 0 && base[at] === ':') separator = ':'
      base = at < 0 ? '' : base.slice(0, at)
    } else {
      return `${base}${separator}${rest.replace(/\/$/, '')}`
    }
  }
}
