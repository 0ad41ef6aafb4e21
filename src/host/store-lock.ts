import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import * as fs from 'node:fs/promises'
import type { StoreHolder, StoreLock } from './model-ports.ts'

const CONFLICT = 75
/** The lock file may have been written by anybody in the group. */
const MOST_BYTES = 4096
const LONGEST_COMMAND = 200

/**
 * Takes flock(2) on a file without waiting. flock(1) takes it on a descriptor that it shares with this process, so that the
 * kernel keeps it for as long as this process lives, and no longer.
 */
export async function takeLock(path: string, command: string): Promise<StoreLock | StoreHolder> {
  // A link or FIFO that somebody put there is not opened.
  const flags = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const handle = await fs.open(path, flags, 0o664)
  try {
    const { code, said } = await runFlock(handle.fd)
    if (code === 0) return await holding(handle, command)
    if (code !== CONFLICT) throw Object.assign(new Error(`flock: ${said}`), { code: 'ENOLCK' })
    const holder = await readHolder(handle)
    await handle.close()
    return holder
  } catch (error) {
    await handle.close()
    throw error
  }
}

function runFlock(fd: number): Promise<{ readonly code: number | null; readonly said: string }> {
  return new Promise((resolve, reject) => {
    const argv = ['--nonblock', '--conflict-exit-code', String(CONFLICT), '3']
    const child = spawn('flock', argv, { stdio: ['ignore', 'ignore', 'pipe', fd] })
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, said: said.trim() }))
  })
}

async function holding(handle: fs.FileHandle, command: string): Promise<StoreLock> {
  const text = `${JSON.stringify({ pid: process.pid, command })}\n`
  await handle.truncate(0)
  await handle.write(text, 0)
  return {
    // Writing moves the time of change whoever owns the file; setting it is for the owner only.
    touch: async () => void (await handle.write(text, 0)),
    release: () => handle.close(),
  }
}

async function readHolder(handle: fs.FileHandle): Promise<StoreHolder> {
  const buffer = Buffer.alloc(MOST_BYTES)
  const [{ bytesRead }, { mtimeMs }] = await Promise.all([handle.read(buffer, 0, MOST_BYTES, 0), handle.stat()])
  return { ...parseHolder(buffer.toString('utf8', 0, bytesRead)), aliveMs: mtimeMs }
}

/** Who holds a lock, out of the text of its file, which may be half written or no JSON; PID 0 where it does not tell. */
export function parseHolder(text: string): Pick<StoreHolder, 'pid' | 'command'> {
  const { pid, command } = parseObject(text)
  return {
    pid: typeof pid === 'number' && Number.isSafeInteger(pid) && pid > 0 ? pid : 0,
    command: typeof command === 'string' ? command.replaceAll(/\p{Cc}/gu, ' ').slice(0, LONGEST_COMMAND) : '',
  }
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}
