import { type ChildProcess, spawn } from 'node:child_process'
import { readUtf8 } from './output.ts'
import type { ExecOptions, ExecResult } from './ports.ts'

/** How long a process group that was asked to end may take, in milliseconds, before it is killed. */
export const KILL_AFTER_MS = 5_000

const NOT_FOUND = 127

/** What is to be run: an argument vector, exactly this environment, a directory, a time limit. */
export interface Program extends Pick<ExecOptions, 'cwd' | 'env' | 'timeoutMs' | 'signal'> {
  readonly argv: readonly [string, ...string[]]
}

/** What is done with a program while it runs. */
export interface ProgramHooks {
  /** Called with what comes on a stream; false stops that stream until `resume` is called. */
  readonly onText: (text: string, stream: 'stdout' | 'stderr', resume: () => void) => boolean
  /** Called when the program itself has ended. False: others hold its streams open, what they say is of no interest. */
  readonly onExit?: () => Promise<boolean>
}

/** How a program ended. */
export type ProgramEnd = Pick<ExecResult, 'code' | 'signal' | 'timedOut'>

/** Runs a program in a process group of its own; abort and time limit end the whole group, SIGTERM first. One that is missing ends with 127. */
export function runProgram(program: Program, hooks: ProgramHooks): Promise<ProgramEnd> {
  const [file, ...args] = program.argv
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      env: { ...program.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...(program.cwd === undefined ? {} : { cwd: program.cwd }),
    })
    readUtf8(child.stdout, (text) => hooks.onText(text, 'stdout', () => child.stdout.resume()))
    readUtf8(child.stderr, (text) => hooks.onText(text, 'stderr', () => child.stderr.resume()))
    let timedOut = false
    let killTimer: NodeJS.Timeout | undefined
    const stop = (): void => {
      signalGroup(child, 'SIGTERM')
      killTimer ??= setTimeout(() => signalGroup(child, 'SIGKILL'), KILL_AFTER_MS)
    }
    const limit =
      program.timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true
            stop()
          }, program.timeoutMs)
    program.signal?.addEventListener('abort', stop, { once: true })
    const finish = (): void => {
      clearTimeout(limit)
      clearTimeout(killTimer)
      program.signal?.removeEventListener('abort', stop)
    }
    child.on('error', (error: NodeJS.ErrnoException) => {
      finish()
      if (error.code !== 'ENOENT' && error.code !== 'EACCES') return reject(error)
      hooks.onText(`${file}: ${error.message}`, 'stderr', () => undefined)
      resolve({ code: NOT_FOUND, signal: null, timedOut })
    })
    child.on('exit', () => {
      void hooks.onExit?.().then((closed) => {
        if (!closed) for (const stream of [child.stdout, child.stderr]) stream.destroy()
      }, reject)
    })
    child.on('close', (code, signal) => {
      finish()
      resolve({ code, signal, timedOut })
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
