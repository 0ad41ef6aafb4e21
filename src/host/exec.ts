import { type ChildProcess, spawn } from 'node:child_process'
import { StringDecoder } from 'node:string_decoder'
import type { Exec, ExecOptions, ExecResult } from './ports.ts'

const KEPT_CHARS = 16 * 1024 * 1024
const KILL_AFTER_MS = 5_000
const NOT_FOUND = 127

/** Runs programs in a process group of their own; abort and time limit end the whole group, SIGTERM first. */
export const systemExec: Exec = {
  run: (argv, options = {}) => run(argv, options),
}

function run(argv: readonly [string, ...string[]], options: ExecOptions): Promise<ExecResult> {
  const [program, ...args] = argv
  if (options.signal?.aborted === true) {
    return Promise.resolve({ code: null, signal: 'SIGTERM', timedOut: false, stdout: '', stderr: '' })
  }
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    const stdout = collect(child.stdout, (line) => options.onLine?.(line, 'stdout'))
    const stderr = collect(child.stderr, (line) => options.onLine?.(line, 'stderr'))
    let timedOut = false
    let killTimer: NodeJS.Timeout | undefined
    const stop = (): void => {
      signalGroup(child, 'SIGTERM')
      killTimer ??= setTimeout(() => signalGroup(child, 'SIGKILL'), KILL_AFTER_MS)
    }
    const limit =
      options.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true
            stop()
          }, options.timeoutMs)
    options.signal?.addEventListener('abort', stop, { once: true })
    const finish = (): void => {
      clearTimeout(limit)
      clearTimeout(killTimer)
      options.signal?.removeEventListener('abort', stop)
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      finish()
      if (error.code !== 'ENOENT' && error.code !== 'EACCES') reject(error)
      else resolve({ code: NOT_FOUND, signal: null, timedOut, stdout: '', stderr: `${program}: ${error.message}` })
    })
    child.on('close', (code, signal) => {
      finish()
      resolve({ code, signal, timedOut, stdout: stdout(), stderr: stderr() })
    })
  })
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function collect(stream: NodeJS.ReadableStream, onLine: (line: string) => void): () => string {
  const decoder = new StringDecoder('utf8')
  let text = ''
  let rest = ''
  const take = (chunk: string): void => {
    text += chunk
    if (text.length > KEPT_CHARS) text = text.slice(-KEPT_CHARS)
    const lines = (rest + chunk).split(/\r\n|\n|\r/)
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line)
  }
  stream.on('data', (chunk: Buffer) => take(decoder.write(chunk)))
  stream.on('end', () => {
    take(decoder.end())
    if (rest !== '') onLine(rest)
    rest = ''
  })
  return () => text
}
