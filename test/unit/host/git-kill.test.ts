import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { serveRepositories } from '../../fixtures/git-backend.ts'
import { checkRepository, commit, git, listMirrors, makeRepository, scratch } from './git-fixture.ts'

const KILLS = 32
const NODES = 4
const REMOVAL = { recursive: true, force: true, maxRetries: 5 } as const
const PROGRAM = join(import.meta.dirname, 'git-install.ts')

/** Pictures of their own and a submodule that all share, so that a kill hits downloads, indexing, publishing and checkouts. */
function makeNodes(root: string): void {
  const shared = makeRepository(root, 'shared')
  const id = commit(shared, { 's.py': 's\n' })
  for (let index = 0; index < NODES; index += 1) {
    const node = makeRepository(root, `node-${index}`)
    const blocks = Array.from({ length: 3000 }, (_, at) => createHash('sha512').update(`${index} ${at}`).digest())
    const sources = Object.fromEntries(Array.from({ length: 30 }, (_, at) => [`nodes/${at}.py`, `${index} ${at}\n`]))
    commit(
      node,
      { ...sources, 'picture.png': Buffer.concat(blocks) },
      { shared: { url: '../../shared/.git', commit: id } },
    )
  }
}

test(`${KILLS} kills at random moments of parallel fetches and checkouts leave nothing that a next run trips on`, async () => {
  const root = scratch()
  makeNodes(root)
  const server = await serveRepositories(root)
  const [mirrors, out] = [join(root, 'mirrors'), join(root, 'out')]
  const start = () =>
    spawn(process.execPath, [PROGRAM, mirrors, out, server.url, String(NODES)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  const timed = async (): Promise<number> => {
    const child = start()
    await once(child.stdout, 'data')
    const before = performance.now()
    expect((await once(child, 'exit'))[0]).toBe(0)
    return performance.now() - before
  }
  const usualMs = await timed()
  let killed = 0
  let begun = 0
  for (let round = 0; killed < KILLS; round += 1) {
    // One kill in four hits a run that goes on from what the last one left.
    const isFollowed = round % 4 !== 3
    if (round % 4 !== 0) for (const place of [mirrors, out]) rmSync(place, REMOVAL)
    const child = start()
    const ended = once(child, 'exit')
    await once(child.stdout, 'data')
    await new Promise((resolve) => setTimeout(resolve, Math.random() * usualMs))
    child.kill('SIGKILL')
    const [, signal] = await ended
    if (signal !== 'SIGKILL') continue
    killed += 1
    if (existsSync(mirrors) && listMirrors(mirrors).some((name) => name.startsWith('.tmp-'))) begun += 1
    if (!isFollowed) continue
    await timed()
    const names = listMirrors(mirrors)
    expect(names.filter((name) => !name.endsWith('.git'))).toEqual([])
    expect(names).toHaveLength(NODES + 1)
    await Promise.all(names.map((name) => checkRepository(join(mirrors, name))))
    for (const name of readdirSync(out)) {
      await Promise.all([checkRepository(join(out, name)), checkRepository(join(out, name, 'shared'))])
      expect(git(join(out, name), 'status', '--porcelain', '--ignore-submodules=none')).toBe('')
    }
    expect(readdirSync(out)).toHaveLength(NODES)
  }
  server.close()
  expect(begun).toBeGreaterThan(KILLS / 4)
}, 180_000)
