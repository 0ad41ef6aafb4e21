import { connect, type Socket } from 'node:net'
import { MachineError, messageOf } from '../errors.ts'
import { gatherOutput, readUtf8 } from './output.ts'
import type { Exec, ExecOptions, ExecResult } from './ports.ts'
import { KILL_AFTER_MS, type ProgramEnd } from './program.ts'
import { createLineReader, type SandboxAnswer, type SandboxRequest, toLine } from './sandbox-protocol.ts'

// systemd gives up on processes that do not even die of SIGKILL after 90 seconds at the latest.
const GONE_WITHIN_MS = 100_000

// The server keeps the time limit itself; one that does not is stopped, or out of its senses.
const LATE_AFTER_MS = 2 * KILL_AFTER_MS

const ABORTED: ProgramEnd = { code: null, signal: 'SIGTERM', timedOut: false }
const KILLED: ProgramEnd = { code: null, signal: 'SIGKILL', timedOut: false }

/**
 * Runs programs in units of their own without privileges, secrets and GPU, see comfy-sandbox@.service. A result is given when
 * no process of the unit is left. Throws CM1711 when systemd does not give one; nothing is ever run outside.
 */
export function openSandbox({ socketPath }: { readonly socketPath: string }): Exec {
  return { run: (argv, options = {}) => run(socketPath, argv, options) }
}

function run(socketPath: string, argv: readonly [string, ...string[]], options: ExecOptions): Promise<ExecResult> {
  const { onLine, signal, timeoutMs } = options
  if (signal?.aborted === true) return Promise.resolve({ ...ABORTED, stdout: '', stderr: '' })
  return new Promise((resolve, reject) => {
    const output = {
      stdout: gatherOutput((line) => onLine?.(line, 'stdout')),
      stderr: gatherOutput((line) => onLine?.(line, 'stderr')),
    }
    let begun = false
    let end: ProgramEnd | undefined
    let failure: unknown
    let limit: NodeJS.Timeout | undefined
    const begin = (): void => {
      begun = true
      if (timeoutMs === undefined) return
      limit = setTimeout(() => hangUp({ ...KILLED, timedOut: true }), timeoutMs + LATE_AFTER_MS)
    }
    const take = (answer: SandboxAnswer): void => {
      if (answer.kind === 'begun') begin()
      else if (answer.kind === 'output') output[answer.stream].take(answer.text)
      else if (answer.kind === 'end') end ??= answer
      else failure = new Error(answer.message)
      if (answer.kind === 'end' || answer.kind === 'failure') expectClose()
    }
    // Not by half: the other side ends at once, and the connection is closed when all of its processes are gone.
    const socket = connect({ path: socketPath, allowHalfOpen: true })
    const hangUp = (instead: ProgramEnd): void => {
      end ??= instead
      socket.end()
      expectClose()
    }
    const abort = (): void => hangUp(ABORTED)
    signal?.addEventListener('abort', abort, { once: true })
    let giveUp: NodeJS.Timeout | undefined
    const expectClose = (): void => {
      giveUp ??= setTimeout(() => socket.destroy(), GONE_WITHIN_MS)
    }
    socket.on('connect', () => {
      if (end === undefined) socket.write(toLine(requestOf(argv, options)))
    })
    readAnswers(socket, take, (error) => {
      failure ??= error
      socket.destroy()
    })
    socket.on('end', () => socket.end())
    socket.on('error', (error) => {
      failure ??= begun ? undefined : unavailable(messageOf(error), error)
    })
    socket.on('close', () => {
      clearTimeout(limit)
      clearTimeout(giveUp)
      signal?.removeEventListener('abort', abort)
      for (const stream of [output.stdout, output.stderr]) stream.end()
      if (failure !== undefined) return reject(failure)
      if (end === undefined && !begun) return reject(unavailable(`${socketPath} was closed without an answer`))
      const { code, signal: endSignal, timedOut } = end ?? KILLED
      resolve({ code, signal: endSignal, timedOut, stdout: output.stdout.text(), stderr: output.stderr.text() })
    })
  })
}

function requestOf(argv: readonly [string, ...string[]], { env, cwd, timeoutMs }: ExecOptions): SandboxRequest {
  return {
    argv,
    env: { ...env },
    ...(cwd === undefined ? {} : { cwd }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  }
}

function readAnswers(socket: Socket, take: (answer: SandboxAnswer) => void, fail: (error: unknown) => void): void {
  const read = createLineReader()
  readUtf8(socket, (text) => {
    try {
      for (const line of read(text)) take(JSON.parse(line) as SandboxAnswer)
    } catch (error) {
      fail(error)
    }
    return true
  })
}

function unavailable(detail: string, cause?: unknown): MachineError {
  return new MachineError('CM1711', detail, cause === undefined ? {} : { cause })
}
