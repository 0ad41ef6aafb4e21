import { openSandbox } from '../../../src/host/sandbox.ts'

/** What is to run in the sandbox. */
export interface Wish {
  readonly argv: readonly [string, ...string[]]
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
  readonly abortAfterMs?: number
  /** How many run at once; default 1. */
  readonly times?: number
  readonly socketPath?: string
}

/** How one of them ended. */
export interface Ran {
  readonly code: number | string | null
  readonly signal?: string | null
  readonly timedOut?: boolean
  /** The first 100,000 characters. */
  readonly stdout: string
  readonly stderr: string
  readonly stdoutLength?: number
  /** Lengths of the lines, of the first thousand of them. */
  readonly lines?: readonly number[]
  readonly tookMs: number
}

/** What `sandbox-run.mjs WISH` prints. */
export interface Answer {
  readonly results: readonly Ran[]
}

// Runs in a host: what the first argument wants goes through the sandbox, and its results are printed as JSON.
const wish = JSON.parse(process.argv[2] ?? '') as Wish
const { argv, abortAfterMs, times = 1, socketPath = '/run/comfy-machine/sandbox.sock', ...options } = wish
const exec = openSandbox({ socketPath })

async function runOnce(): Promise<Ran> {
  const lines: number[] = []
  const startMs = performance.now()
  const took = (): number => Math.round(performance.now() - startMs)
  const signal = abortAfterMs === undefined ? {} : { signal: AbortSignal.timeout(abortAfterMs) }
  const onLine = (line: string): void => {
    if (lines.length < 1000) lines.push(line.length)
  }
  try {
    const { stdout, stderr, ...end } = await exec.run(argv, { ...options, ...signal, onLine })
    const texts = { stdout: stdout.slice(0, 100_000), stderr: stderr.slice(0, 100_000), stdoutLength: stdout.length }
    return { ...end, ...texts, lines, tookMs: took() }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : null
    return { code, stdout: '', stderr: String(error), tookMs: took() }
  }
}

const results = await Promise.all(Array.from({ length: times }, runOnce))
const answer: Answer = { results }
process.stdout.write(JSON.stringify(answer))
