import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

/** What a process took from its start to its end, its children and threads with it. */
export interface Taken {
  readonly wallMs: number
  /** User and system time, in steps of 10 ms. */
  readonly cpuMs: number
  /** Peak resident memory of the largest of its processes, in MB (10^6 bytes). */
  readonly peakMb: number
}

/** A program as it is run: a file that is on PATH or absolute, and what differs from the environment of this process. */
export interface TimedProgram {
  readonly argv: readonly string[]
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a program below time(1). What it prints goes to `run.log` and time's figures to `run.time` in `scratch`; throws with the end of the first when it fails. */
export async function takeTime(program: TimedProgram, scratch: string): Promise<Taken> {
  const [log, figures] = [path.join(scratch, 'run.log'), path.join(scratch, 'run.time')]
  const fd = openSync(log, 'w')
  const before = performance.now()
  const child = spawn('/usr/bin/time', ['--quiet', '-f', '%U %S %M', '-o', figures, ...program.argv], {
    cwd: program.cwd,
    env: { ...process.env, ...program.env },
    stdio: ['ignore', fd, fd],
  })
  const [code] = (await once(child, 'exit')) as [number | null]
  const wallMs = performance.now() - before
  closeSync(fd)
  if (code !== 0) {
    const said = (await readFile(log, 'utf8')).slice(-4000)
    throw new Error(`${program.argv.join(' ').slice(0, 300)} ended with code ${code}\n${said}`)
  }
  const [user = 0, system = 0, peakKib = 0] = (await readFile(figures, 'utf8')).trim().split(' ').map(Number)
  return { wallMs, cpuMs: (user + system) * 1000, peakMb: (peakKib * 1024) / 1e6 }
}

/** What came one after the other, as one: times add up, memory does not. */
export function together(parts: readonly Taken[]): Taken {
  return {
    wallMs: parts.reduce((sum, { wallMs }) => sum + wallMs, 0),
    cpuMs: parts.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    peakMb: Math.max(...parts.map(({ peakMb }) => peakMb)),
  }
}
