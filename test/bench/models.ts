import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { buildProgram } from '../../packaging/build.ts'
import { has, must } from '../host/command.ts'
import { type Finding, median, type Sample, shown, spread, table } from './figures.ts'
import { type BenchOptions, say } from './machine.ts'
import { checkFiles, evenOut, settle } from './model-disk.ts'
import { type ModelFiles, makeModelFiles } from './model-files.ts'
import {
  COLUMNS,
  type Column,
  countOf,
  cpuFinding,
  type Found,
  findingsOf,
  titleOf,
  type Work,
  worksOf,
} from './model-goals.ts'
import { type ModelServer, startModelServer } from './model-server.ts'
import { OURS, type Way } from './model-ways.ts'
import { type Taken, together } from './timed-process.ts'

const PACKAGES = {
  nginx: 'nginx',
  aria2c: 'aria2',
  curl: 'curl',
  openssl: 'openssl',
  cc: 'gcc',
  '/usr/bin/time': 'time',
}
const MEMORY = '/dev/shm'
const AT_ONCE = { files: 32, mib: 64, goalMb: 150 }

/** What stays the same for all runs. */
interface Bench {
  readonly server: ModelServer
  readonly program: string
  /** Where fresh targets are made, by the file system. */
  readonly targets: Readonly<Record<'memory' | 'disk', string>>
}

/**
 * Models from an nginx on this machine: one large file, and many small ones, beside what people run by hand. Each way is a process of its
 * own, ours the bundled program as its unit runs it; every run has a fresh target and pages that were written to just before, the ways
 * run in turn, in the other order in every second round, and are compared round by round. What came is checked outside of the time.
 */
export async function benchModels(options: BenchOptions): Promise<readonly Finding[]> {
  const missing = Object.entries(PACKAGES).flatMap(([program, name]) => (has(program) ? [] : [name]))
  if (missing.length > 0) {
    say(`models cannot be measured here: apt packages are missing (${missing.join(', ')})`)
    return []
  }
  const scratch = await mkdtemp(path.join(tmpdir(), 'comfy-machine-bench-'))
  const memory = await mkdtemp(path.join(MEMORY, 'comfy-machine-bench-'))
  try {
    say('models: building the program')
    await buildProgram({ folder: path.join(scratch, 'program') })
    const findings: Finding[] = []
    for (const work of worksOf(options)) {
      say(`models: ${titleOf(work)}; making the files unless they are there`)
      const made = await makeModelFiles(work.count, work.mib)
      const server = await startModelServer(made.folder, scratch)
      const bench: Bench = {
        server,
        program: path.join(scratch, 'program'),
        targets: { memory, disk: scratch },
      }
      try {
        findings.push(...(await benchWork(bench, work, made, options)))
      } finally {
        server.stop()
      }
    }
    findings.push(await benchPeak(scratch, memory))
    return findings
  } finally {
    await rm(scratch, { recursive: true, force: true })
    await rm(memory, { recursive: true, force: true })
  }
}

async function benchWork(
  bench: Bench,
  work: Work,
  made: ModelFiles,
  options: BenchOptions,
): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  for (const column of COLUMNS.filter(({ name }) => options.columns.includes(name))) {
    const files = made.files.slice(0, countOf(work, column))
    const found: Found = new Map(work.ways.map(({ name }) => [name, []]))
    for (let round = 1; round <= work.rounds; round += 1) {
      // What is shown only and slow is run once.
      const ways = work.ways.filter(({ name }) => round === 1 || !column.slow || name !== work.shownOnly)
      for (const way of round % 2 === 1 ? ways : ways.toReversed()) {
        say(`models: ${titleOf(work, column)}, round ${round} of ${work.rounds}, ${way.name}`)
        found.get(way.name)?.push(await runOnce(bench, column, { folder: made.folder, files }, way))
      }
    }
    process.stdout.write(tableOf(work, column, found, bench.server.description))
    findings.push(...findingsOf(work, column, found))
    if (column.name === 'memory') findings.push(...cpuFinding(work, found))
  }
  return findings
}

async function runOnce(bench: Bench, column: Column, made: ModelFiles, way: Way): Promise<readonly Taken[]> {
  const { server, program, targets } = bench
  const { files } = made
  await must(['sh', '-c', 'cat "$1"/* >/dev/null', 'sh', made.folder])
  const folder = await mkdtemp(path.join(targets[column.target], 'target-'))
  try {
    await evenOut(
      folder,
      files.reduce((sum, { bytes }) => sum + bytes, 0),
    )
    const errand = {
      files,
      url: server.urls[column.server],
      folder,
      scratch: targets.memory,
      authority: server.authority,
      program,
    }
    const taken = await way.run(errand)
    await checkFiles(way.filesOf(errand), files)
    return taken
  } finally {
    await rm(folder, { recursive: true, force: true })
    await settle()
  }
}

/** Memory of ours with many large files at once; no peer has it as a goal. */
async function benchPeak(scratch: string, memory: string): Promise<Finding> {
  const made = await makeModelFiles(AT_ONCE.files, AT_ONCE.mib)
  const server = await startModelServer(made.folder, scratch)
  const connections = { MODEL_CONNECTIONS: String(AT_ONCE.files), MODEL_CONNECTIONS_PER_HOST: String(AT_ONCE.files) }
  const way: Way = { ...OURS, run: (errand) => OURS.run({ ...errand, variables: connections }) }
  const title = `${AT_ONCE.files} files of ${AT_ONCE.mib} MiB`
  try {
    say(`models: peak memory, ${title}`)
    const bench: Bench = { server, program: path.join(scratch, 'program'), targets: { memory, disk: scratch } }
    const column: Column = { name: 'memory', title: '', target: 'memory', server: 'plain', delayed: false, slow: false }
    const { peakMb, wallMs } = together(await runOnce(bench, column, made, way))
    const ours = `${shown(peakMb)} MB, ${shown(wallMs)} ms`
    const beside = `limit ${AT_ONCE.goalMb} MB`
    return { figure: `models: peak memory, ${title}`, ours, beside, value: peakMb, goal: AT_ONCE.goalMb }
  } finally {
    server.stop()
  }
}

function tableOf(work: Work, column: Column, found: Found, description: string): string {
  const gib = (countOf(work, column) * work.mib) / 1024
  const sampleOf = (name: string, value: (taken: Taken) => number): Sample =>
    (found.get(name) ?? []).map((parts) => value(together(parts)))
  const ours = sampleOf(OURS.name, ({ wallMs }) => wallMs)
  const title = `${titleOf(work, column)}, ${work.rounds} rounds (${description})`
  return table(title, [
    ['', 'ms: median (least–greatest)', 'ours / this, pair by pair', 'CPU here, s', 'per GiB', 'peak MB'],
    ...work.ways.map(({ name }) => {
      const [wall, cpu] = [sampleOf(name, ({ wallMs }) => wallMs), sampleOf(name, ({ cpuMs }) => cpuMs / 1000)]
      const ratio = wall.map((value, index) => (ours[index] ?? Number.NaN) / value)
      const peak = sampleOf(name, ({ peakMb }) => peakMb)
      const figures = [shown(median(cpu)), shown(median(cpu) / gib), shown(median(peak))]
      return [name, spread(wall), spread(ratio), ...figures]
    }),
  ])
}
