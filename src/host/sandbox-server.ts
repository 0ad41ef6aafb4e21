import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import { killGroupMembers } from './cgroup.ts'
import { listenFds } from './listen-fds.ts'
import { openNotify } from './notify.ts'
import { readUtf8 } from './output.ts'
import { runProgram } from './program.ts'
import { createLineReader, type SandboxAnswer, type SandboxRequest, toLine } from './sandbox-protocol.ts'

const WATCHDOG_MS = 10_000
const GONE_WITHIN_MS = 2_000
const LAST_WORDS_MS = 500

/**
 * Serves the one connection that systemd accepted for this process: runs the program that is asked for, hands over what it
 * says, and ends with all of its processes. When the other side hangs up this process ends at once, and systemd kills the rest.
 */
export async function serveSandbox(env: NodeJS.ProcessEnv = process.env, pid = process.pid): Promise<void> {
  const fd = listenFds(env, pid).get('connection')
  if (fd === undefined) throw new Error('systemd has not accepted a connection for this process')
  const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true })
  const notify = openNotify(env, pid)
  setInterval(() => notify.watchdog(), WATCHDOG_MS).unref()
  socket.on('error', () => process.exit(0))
  socket.on('close', () => process.exit(0))
  socket.on('end', () => process.exit(0))
  const answer = await readRequest(socket).then(
    (request) => run(socket, request),
    (error: unknown): SandboxAnswer => ({ kind: 'failure', message: messageOf(error) }),
  )
  await send(socket, answer)
  // Closing is left to the end of the process: systemd holds the connection too, and lets go of it when the unit is empty.
  process.exit(0)
}

function readRequest(socket: Socket): Promise<SandboxRequest> {
  return new Promise((resolve, reject) => {
    const read = createLineReader()
    readUtf8(socket, (text) => {
      try {
        const [line] = read(text)
        if (line !== undefined) resolve(JSON.parse(line) as SandboxRequest)
      } catch (error) {
        reject(error)
      }
      return true
    })
  })
}

async function run(socket: Socket, request: SandboxRequest): Promise<SandboxAnswer> {
  void send(socket, { kind: 'begun' })
  try {
    const end = await runProgram(request, {
      onText(text, stream, resume) {
        const taken = socket.write(toLine({ kind: 'output', stream, text }))
        if (!taken) socket.once('drain', resume)
        return taken
      },
      // What forked away holds the streams open, and must not outlive the program.
      onExit: async () => (await killGroupMembers(GONE_WITHIN_MS)) || (await sleep(LAST_WORDS_MS, false)),
    })
    return { kind: 'end', ...end }
  } catch (error) {
    return { kind: 'failure', message: messageOf(error) }
  }
}

function send(socket: Socket, answer: SandboxAnswer): Promise<void> {
  return new Promise((resolve) => socket.write(toLine(answer), () => resolve()))
}
