import { type ChildProcess, spawn, spawnSync } from 'node:child_process'

export interface Result {
  code: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  /** Milliseconds until the program is killed; the result then has code 124. Default 120,000. */
  timeoutMs?: number
  input?: string | Uint8Array
  env?: Readonly<Record<string, string>>
  cwd?: string
  /** Shows the program's output as it comes, besides collecting it. */
  echo?: boolean
}

/** Runs a program to its end and returns what it said; rejects only when it cannot be started. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  const [file, ...args] = argv
  if (file === undefined) throw new Error('run: empty argument vector')
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
      child.stdout.destroy()
      child.stderr.destroy()
    }, options.timeoutMs ?? 120_000)
    child.stdout.on('data', (chunk: Buffer) => {
      stdout.push(chunk)
      if (options.echo) process.stdout.write(chunk)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr.push(chunk)
      if (options.echo) process.stderr.write(chunk)
    })
    child.on('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({
        code: timedOut ? 124 : (code ?? 128),
        stdout: Buffer.concat(stdout).toString('utf8'),
        stderr: Buffer.concat(stderr).toString('utf8'),
      })
    })
    // A program that ends without reading its input closes the pipe; its exit code tells the story.
    child.stdin.on('error', () => child.stdin.destroy())
    child.stdin.end(options.input ?? '')
  })
}

/** Runs a program that must succeed; throws an error with its whole output otherwise. Returns its standard output. */
export async function must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(argv, options)
  if (result.code !== 0) {
    throw new Error(`${argv.join(' ')} ended with code ${result.code}\n${result.stdout}${result.stderr}`)
  }
  return result.stdout
}

/** True when the program is on PATH. */
export function has(program: string): boolean {
  return spawnSync('/bin/sh', ['-c', 'command -v "$1" >/dev/null 2>&1', 'sh', program]).status === 0
}

/** Waits until the child has ended, at most so many milliseconds; tells whether it has. */
export async function ended(child: ChildProcess, timeoutMs: number): Promise<boolean> {
  if (child.exitCode !== null || child.signalCode !== null) return true
  return await new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), timeoutMs)
    child.once('exit', () => {
      clearTimeout(timer)
      resolve(true)
    })
  })
}
