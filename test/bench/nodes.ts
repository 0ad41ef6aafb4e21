import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { systemExec } from '../../src/host/exec.ts'
import { systemFiles } from '../../src/host/files.ts'
import { openGit } from '../../src/host/git.ts'
import type { FetchedRevision, Git } from '../../src/host/install-ports.ts'
import { mapLimited } from '../../src/install/context.ts'
import { projectRoot } from '../host/paths.ts'
import { type Finding, median, ratios, type Sample, shown, spread, table } from './figures.ts'
import { type BenchOptions, say } from './machine.ts'
import { makeNodeRepositories, nodeName } from './node-repositories.ts'

const NODES = 60
const GOALS = [
  { delayMs: 50, faster: 8 },
  { delayMs: 0, faster: 2.5 },
] as const
const AT_ONCE = 16
const CHECKOUTS_AT_ONCE = 4
const CHECKOUT_GOAL_S = 1.5

interface Measured {
  readonly seconds: number
  /** CPU of this process and of what it ran; the server's is not in it. */
  readonly cpuSeconds: number
}

/** One way to get all nodes, from an empty folder; answers the repositories' commits where it knows them. */
interface Way {
  readonly name: string
  readonly run: (folder: string, url: string) => Promise<unknown>
}

const SEQUENTIAL = 'git clone, one after the other'
const OURS = `ours, ${AT_ONCE} at once`

/**
 * Custom nodes from a server: 60 repositories of about 2 MB with history, served by git http-backend behind a small HTTP server on this
 * machine, once with 50 ms before each answer and once without. Peer is what people do by hand: `git clone` of one after the other. The
 * ways run in turn in each round, and are compared round by round. Then what a next generation costs, with no server at all.
 * Nothing is removed before the end (about 5 GB below the temporary directory): blocks that were freed a moment ago are several times
 * as dear to write on some disks, and would charge one way with the litter of another.
 */
export async function benchNodes(options: BenchOptions): Promise<readonly Finding[]> {
  say(`nodes: making ${NODES} repositories unless they are there`)
  const root = makeNodeRepositories(NODES)
  const scratch = await mkdtemp(path.join(tmpdir(), 'comfy-machine-bench-'))
  try {
    const findings: Finding[] = []
    for (const goal of GOALS) findings.push(await benchFetch(root, scratch, goal, options))
    findings.push(await benchCheckout(root, scratch, options))
    return findings
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}

async function benchFetch(
  root: string,
  scratch: string,
  goal: (typeof GOALS)[number],
  { quick }: BenchOptions,
): Promise<Finding> {
  const { delayMs, faster } = goal
  const others = quick ? [] : [8, 24, 32]
  const ways: readonly Way[] = [
    { name: SEQUENTIAL, run: (folder, url) => clone(folder, url, 1, []) },
    {
      name: `git clone --depth=1, ${AT_ONCE} at once`,
      run: (folder, url) => clone(folder, url, AT_ONCE, ['--depth=1']),
    },
    { name: OURS, run: (folder, url) => fetchAll(openFor(folder), url, AT_ONCE) },
    ...others.map((atOnce) => ({
      name: `ours, ${atOnce} at once`,
      run: (folder: string, url: string) => fetchAll(openFor(folder), url, atOnce),
    })),
    { name: `${OURS}, and checked out`, run: fetchAndCheckOut },
  ]
  const found = new Map<string, Measured[]>(ways.map(({ name }) => [name, []]))
  await withServer(root, delayMs, async (url) => {
    for (let round = 1; round <= (quick ? 1 : 3); round += 1) {
      for (const { name, run } of ways) {
        say(`nodes: ${delayMs} ms delay, round ${round}, ${name}`)
        found.get(name)?.push(await measure(scratch, (folder) => run(folder, url)))
      }
    }
  })
  const secondsOf = (name: string): Sample => (found.get(name) ?? []).map(({ seconds }) => seconds)
  const theirs = secondsOf(SEQUENTIAL)
  process.stdout.write(
    table(`${NODES} custom nodes over HTTP, ${delayMs} ms before each answer`, [
      ['', 's: median (least–greatest)', 'times faster', 'CPU here, s'],
      ...ways.map(({ name }) => {
        const cpu = (found.get(name) ?? []).map(({ cpuSeconds }) => cpuSeconds)
        return [name, spread(secondsOf(name)), shown(1 / median(ratios(secondsOf(name), theirs))), shown(median(cpu))]
      }),
    ]),
  )
  const ours = secondsOf(OURS)
  return {
    figure: `fetch of ${NODES} nodes, ${delayMs} ms delay, of the time of sequential git clone`,
    ours: `${shown(median(ours))} s`,
    beside: `git clone ${shown(median(theirs))} s`,
    value: median(ratios(ours, theirs)),
    goal: 1 / faster,
  }
}

async function benchCheckout(root: string, scratch: string, { quick }: BenchOptions): Promise<Finding> {
  const atOnces = quick ? [CHECKOUTS_AT_ONCE] : [1, 2, CHECKOUTS_AT_ONCE]
  const found = new Map<string, number[]>()
  const keep = async (name: string, run: (folder: string) => Promise<unknown>): Promise<void> => {
    found.set(name, [...(found.get(name) ?? []), (await measure(scratch, run)).seconds])
  }
  const mirrors = path.join(scratch, 'mirrors')
  const git = openFor(mirrors)
  const fetched = await withServer(root, 0, async (url) => {
    const commits = await fetchAll(git, url, AT_ONCE)
    return commits.map(({ commit }, index) => ({ url: `${url}/${nodeName(index)}`, commit }))
  })
  for (let round = 1; round <= (quick ? 2 : 3); round += 1) {
    say(`nodes: checkouts, round ${round}`)
    await keep('all fetched already', () =>
      mapLimited(fetched, AT_ONCE, ({ url, commit }) => openFor(mirrors).fetch(url, { commit })),
    )
    for (const atOnce of atOnces) {
      await keep(`checked out, ${atOnce} at once`, (folder) =>
        mapLimited(fetched, atOnce, ({ url, commit }) =>
          git.checkout(url, commit, path.join(folder, path.basename(url)), { recursive: false }),
        ),
      )
    }
  }
  const rows = [...found].map(([name, seconds]) => [name, spread(seconds)])
  process.stdout.write(
    table(`${NODES} custom nodes in the cache, no server`, [['', 's: median (least–greatest)'], ...rows]),
  )
  const seconds = median(found.get(`checked out, ${CHECKOUTS_AT_ONCE} at once`) ?? [])
  const figure = `checkout of ${NODES} nodes out of the cache, ${CHECKOUTS_AT_ONCE} at once, s`
  return { figure, ours: `${shown(seconds)} s`, beside: 'no server', value: seconds, goal: CHECKOUT_GOAL_S }
}

function openFor(mirrors: string): Git {
  return openGit({
    exec: systemExec,
    files: systemFiles,
    mirrors,
    env: { PATH: process.env['PATH'] ?? '' },
    allowInsecure: true,
    codes: { failed: 'CM1701', missing: 'CM1702' },
    signal: new AbortController().signal,
    onProgress: () => undefined,
  })
}

const numbers = Array.from({ length: NODES }, (_, index) => index)

function fetchAll(git: Git, url: string, atOnce: number): Promise<FetchedRevision[]> {
  return mapLimited(numbers, atOnce, (index) => git.fetch(`${url}/${nodeName(index)}`, {}))
}

async function fetchAndCheckOut(folder: string, url: string): Promise<void> {
  const git = openFor(path.join(folder, 'mirrors'))
  await mapLimited(numbers, AT_ONCE, async (index) => {
    const from = `${url}/${nodeName(index)}`
    const { commit } = await git.fetch(from, {})
    await git.checkout(from, commit, path.join(folder, nodeName(index)), { recursive: false })
  })
}

async function clone(folder: string, url: string, atOnce: number, args: readonly string[]): Promise<void> {
  const env = { PATH: process.env['PATH'], GIT_CONFIG_GLOBAL: '/dev/null' }
  await mapLimited(numbers, atOnce, async (index) => {
    const target = path.join(folder, nodeName(index))
    await promisify(execFile)('git', ['clone', '--quiet', ...args, `${url}/${nodeName(index)}`, target], { env })
  })
}

async function measure(scratch: string, run: (folder: string) => Promise<unknown>): Promise<Measured> {
  const folder = await mkdtemp(path.join(scratch, 'way-'))
  const cpuBefore = readCpuSeconds()
  const before = performance.now()
  await run(folder)
  return { seconds: (performance.now() - before) / 1000, cpuSeconds: readCpuSeconds() - cpuBefore }
}

/** Of this process and of all children that it has waited for, proc_pid_stat(5): fields 14 to 17, in hundredths of a second. */
function readCpuSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
    .slice(11, 15)
  return fields.map(Number).reduce((sum, ticks) => sum + ticks / 100, 0)
}

async function withServer<T>(root: string, delayMs: number, run: (url: string) => Promise<T>): Promise<T> {
  const program = path.join(projectRoot, 'test/fixtures/git-backend.ts')
  const server = spawn(process.execPath, [program, root, String(delayMs)], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    const [line] = await once(server.stdout, 'data')
    return await run(String(line).trim())
  } finally {
    server.kill()
  }
}
