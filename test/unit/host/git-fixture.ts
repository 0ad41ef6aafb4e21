import { execFile, execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { systemExec } from '../../../src/host/exec.ts'
import { systemFiles } from '../../../src/host/files.ts'
import { type GitOptions, openGit } from '../../../src/host/git.ts'
import type { Git } from '../../../src/host/install-ports.ts'

const ENVIRONMENT = {
  PATH: process.env['PATH'] ?? '',
  HOME: '/nonexistent',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_AUTHOR_NAME: 'Fixture',
  GIT_AUTHOR_EMAIL: 'fixture@localhost',
  GIT_COMMITTER_NAME: 'Fixture',
  GIT_COMMITTER_EMAIL: 'fixture@localhost',
}

/** A new directory below the temporary one. */
export function scratch(): string {
  return mkdtempSync(join(tmpdir(), 'git-'))
}

/** What git(1) prints on standard output. */
export function git(directory: string, ...args: readonly string[]): string {
  return execFileSync('git', ['-C', directory, ...args], { env: ENVIRONMENT, encoding: 'utf8', stdio: 'pipe' }).trim()
}

/** A repository with a working tree, so that a fixture is written as files and served as it is. */
export function makeRepository(root: string, name: string): string {
  const directory = join(root, name)
  mkdirSync(directory, { recursive: true })
  git(directory, 'init', '--quiet', '--initial-branch=main')
  return directory
}

/** Adds a commit of some files, and submodules by path; answers its id. */
export function commit(
  directory: string,
  files: Readonly<Record<string, string | Uint8Array>>,
  submodules: Readonly<Record<string, { readonly url: string; readonly commit: string }>> = {},
): string {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  const modules = Object.entries(submodules).map(
    ([path, { url }]) => `[submodule "${path}"]\n\tpath = ${path}\n\turl = ${url}\n`,
  )
  if (modules.length > 0) writeFileSync(join(directory, '.gitmodules'), modules.join(''))
  git(directory, 'add', '--all', '--force')
  for (const [path, { commit: id }] of Object.entries(submodules)) {
    git(directory, 'update-index', '--add', '--cacheinfo', `160000,${id},${path}`)
  }
  git(directory, 'commit', '--quiet', '--allow-empty', '--message=change')
  return git(directory, 'rev-parse', 'HEAD')
}

/** The port under test over real git, with what a test says otherwise. */
export function openTestGit(mirrors: string, options: Partial<GitOptions> = {}): Git {
  return openGit({
    exec: systemExec,
    files: systemFiles,
    mirrors,
    env: { PATH: ENVIRONMENT.PATH, HOME: '/nonexistent' },
    allowInsecure: true,
    codes: { failed: 'CM1701', missing: 'CM1702' },
    signal: new AbortController().signal,
    onProgress: () => undefined,
    ...options,
  })
}

/** Names in the directory of mirrors; whole ones end with `.git`. */
export function listMirrors(mirrors: string): readonly string[] {
  return readdirSync(mirrors).sort()
}

/** Throws unless every object of a repository is there and good. */
export async function checkRepository(directory: string): Promise<void> {
  await promisify(execFile)('git', ['-C', directory, 'fsck', '--full', '--no-dangling'], { env: ENVIRONMENT })
}
