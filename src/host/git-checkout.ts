import { constants, copyFile, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import { withoutUser } from '../install/component-safety.ts'
import type { GitCommand } from './git-command.ts'
import { listPacks } from './git-mirrors.ts'
import type { ExecResult, Files } from './ports.ts'

const LOCKS = ['index.lock', 'HEAD.lock', 'shallow.lock', 'config.lock']

/** Every file as it is in the repository: no program of a filter runs, and what was written is what git-status(1) compares with. */
const ATTRIBUTES = '* -text -ident -filter !eol !working-tree-encoding\n'

/**
 * Makes `directory` a checkout of a commit out of its mirror, with objects of its own: the mirror may go away, and who can write to
 * the checkout cannot reach what others will be made from. One git process writes the files and one compares them. Answers how git ended. Throws CM1710 when the files are not those of the commit.
 */
export async function checkOutMirror(
  git: GitCommand,
  files: Files,
  mirror: string,
  target: { readonly url: string; readonly commit: string; readonly directory: string; readonly submodules: boolean },
): Promise<ExecResult> {
  const { url, commit, directory } = target
  const repository = join(directory, '.git')
  const at = ['--git-dir', repository, '--work-tree', directory]
  await prepare(files, mirror, repository, target)
  const written = await git.local([...at, 'read-tree', '--reset', '-u', commit])
  if (written.code !== 0) {
    await files.remove(repository)
    return written
  }
  await files.writeText(join(repository, 'HEAD'), `${commit}\n`)
  const status = await git.local([...at, ...STATUS])
  if (status.code !== 0) return status
  const [head, ...changes] = status.stdout.split('\0').filter((line) => line !== '' && !/^# branch\.(?!oid)/.test(line))
  const actual = head?.replace('# branch.oid ', '')
  if (actual !== commit) throw mismatch(url, `${directory} is at ${actual}, not at ${commit}`)
  const [changed] = changes
  if (changed !== undefined) throw mismatch(url, `${directory} differs from ${commit}: ${changed}`)
  return status
}

const STATUS = ['status', '--porcelain=v2', '--branch', '-z', '--untracked-files=no', '--ignore-submodules=all']

const mismatch = (url: string, what: string): MachineError =>
  new MachineError('CM1710', `${withoutUser(url)}: ${what}`.slice(0, 400))

/** The directory of a submodule below its parent's checkout. Throws CM1607 when a link leads out of it. */
export async function submoduleDirectory(files: Files, url: string, parent: string, path: string): Promise<string> {
  let directory = parent
  for (const part of path.split('/')) {
    directory = join(directory, part)
    const kind = (await files.lstat(directory))?.kind
    if (kind === 'directory') continue
    throw new MachineError('CM1607', `${withoutUser(url)}, submodule ${path}: ${part} is ${kind ?? 'not there'}`)
  }
  return directory
}

/** A repository without an index yet, or the one that is there, with the objects of the mirror. */
async function prepare(
  files: Files,
  mirror: string,
  repository: string,
  { url, commit, submodules }: { readonly url: string; readonly commit: string; readonly submodules: boolean },
): Promise<void> {
  const isUsable = ((await files.readText(join(repository, 'HEAD'))) ?? '').trim() !== ''
  if (!isUsable) await rm(repository, { recursive: true, force: true })
  for (const lock of isUsable ? LOCKS : []) await rm(join(repository, lock), { force: true })
  await mkdir(join(repository, 'objects/pack'), { recursive: true })
  await mkdir(join(repository, 'refs/heads'), { recursive: true })
  await mkdir(join(repository, 'info'), { recursive: true })
  for (const pack of await listPacks(mirror)) await copy(join(mirror, pack), join(repository, pack))
  const shallow = await files.readText(join(mirror, 'shallow'))
  if (shallow !== undefined) await writeFile(join(repository, 'shallow'), shallow)
  await writeFile(join(repository, 'info/attributes'), ATTRIBUTES)
  await writeFile(join(repository, 'config'), configOf(url, submodules))
  if (!isUsable) await writeFile(join(repository, 'HEAD'), `${commit}\n`)
}

/** Shares blocks where the file system can, so it costs no space there. */
async function copy(from: string, to: string): Promise<void> {
  const temporary = `${to}.tmp`
  await rm(temporary, { force: true })
  await copyFile(from, temporary, constants.COPYFILE_FICLONE)
  await rename(temporary, to)
}

function configOf(url: string, submodules: boolean): string {
  const quoted = urlWithoutSecret(url).replace(/[\\"]/g, '\\$&')
  return `[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = false
\tlogallrefupdates = true
[remote "origin"]
\turl = "${quoted}"
\tfetch = +refs/heads/*:refs/remotes/origin/*
${submodules ? '[submodule]\n\tactive = .\n' : ''}`
}

/** Whoever reads the checkout does not learn a password; ssh needs its user. */
function urlWithoutSecret(url: string): string {
  return url.startsWith('ssh://') ? url.replace(/^(ssh:\/\/[^:/@]*):[^/]*@/, '$1@') : withoutUser(url)
}
