import { join } from 'node:path'
import type { Files } from '../host/ports.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { WantedNode } from './components.ts'
import type { LockedSource } from './machine-lock.ts'

/** Version of what a wish consists of and of how it is carried out; another one is another wish. */
const WISH_SCHEMA = 1
const INTERPRETERS = ['/usr/bin/python3', '/usr/local/bin/python3'] as const
const MOST_LINKS = 8

/** What a generation is made for. */
export interface Wish {
  readonly source: LockedSource
  /** In the order of installation. */
  readonly nodes: readonly WantedNode[]
  /** Real path of the interpreter, see `readInterpreter`. */
  readonly interpreter: string
}

/**
 * Everything that decides over a generation, as one text: two equal ones need one generation. Neither models nor values of
 * secrets are in it.
 */
export function wishKey({ python, nodes, environment }: MachinePlan, wish: Wish): string {
  const { repoUrl, ref, commit } = wish.source
  return JSON.stringify([
    WISH_SCHEMA,
    [repoUrl, ref, commit],
    wish.nodes.map((node) => [
      node.name,
      node.url,
      node.branch,
      node.commit,
      node.recursive,
      node.requirements,
      Object.entries(node.env).sort(([a], [b]) => (a < b ? -1 : 1)),
      node.customScript,
    ]),
    [wish.interpreter, python.installer, python.torchBackend, packageSettings(environment)],
    nodes.writable,
  ])
}

/** The operator's public variables that decide which packages are chosen. */
function packageSettings(environment: Readonly<Record<string, string>>): readonly (readonly [string, string])[] {
  return Object.entries(environment)
    .filter(([name]) => /^(PIP|UV)_[A-Z0-9_]+$/.test(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
}

/** Real path of the interpreter that environments are made from, without running it; empty where there is none. */
export async function readInterpreter(files: Files, environment: MachinePlan['environment']): Promise<string> {
  const wanted = environment['UV_PYTHON']
  for (const candidate of wanted?.startsWith('/') ? [wanted] : INTERPRETERS) {
    if ((await files.stat(candidate)) !== undefined) return followLinks(files, candidate)
  }
  return ''
}

async function followLinks(files: Files, path: string): Promise<string> {
  let at = path
  for (let links = 0; links < MOST_LINKS; links += 1) {
    if ((await files.lstat(at))?.kind !== 'symlink') break
    const target = await files.readLink(at)
    if (target === undefined) break
    at = target.startsWith('/') ? target : join(at, '..', target)
  }
  return at
}
