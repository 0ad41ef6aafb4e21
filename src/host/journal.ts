import { writeSync } from 'node:fs'
import { listenFds, sendDatagram } from './listen-fds.ts'
import type { Journal, JournalEntry, Priority } from './ports.ts'

const LEVELS: Readonly<Record<Priority, number>> = { err: 3, warning: 4, notice: 5, info: 6, debug: 7 }
/** The journal socket refuses entries of more than about 200 KB. */
const FIELD_BYTES = 48 * 1024
const STDERR = 2

/** What every entry of a process carries. */
export interface JournalOptions {
  readonly identifier?: string
  readonly fields?: Readonly<Record<string, string>>
}

/** Native journal entries over the descriptor that OpenFile= named `journal`; sd-daemon(3) lines on stderr without it. */
export function openJournal(options: JournalOptions = {}, env: NodeJS.ProcessEnv = process.env): Journal {
  const fd = listenFds(env, process.pid).get('journal')
  const common = { SYSLOG_IDENTIFIER: options.identifier ?? 'comfy-machine', ...options.fields }
  return {
    write(entry) {
      if (fd !== undefined && sendDatagram(fd, encodeEntry(entry, common))) return
      writeLine(entry, env['JOURNAL_STREAM'] !== undefined)
    },
  }
}

/** One entry in the native protocol of systemd's journal: `KEY=value`, or `KEY`, length and data where the value has a newline. */
export function encodeEntry(entry: JournalEntry, common: Readonly<Record<string, string>> = {}): Uint8Array {
  const fields: Record<string, string> = {
    ...common,
    MESSAGE: entry.message,
    PRIORITY: String(LEVELS[entry.priority]),
    ...(entry.messageId === undefined ? {} : { MESSAGE_ID: entry.messageId }),
    ...entry.fields,
  }
  return Buffer.concat(Object.entries(fields).map(([name, value]) => encodeField(name, value)))
}

function encodeField(name: string, value: string): Buffer {
  const data = Buffer.from(value).subarray(0, FIELD_BYTES)
  if (!data.includes(0x0a)) return Buffer.concat([Buffer.from(`${name}=`), data, Buffer.from('\n')])
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(data.length))
  return Buffer.concat([Buffer.from(`${name}\n`), length, data, Buffer.from('\n')])
}

function writeLine(entry: JournalEntry, prefixed: boolean): void {
  const level = prefixed ? `<${LEVELS[entry.priority]}>` : ''
  const lines = entry.message.split('\n').map((line) => `${level}${line}\n`)
  try {
    writeSync(STDERR, lines.join(''))
  } catch (error) {
    if (!isClosed(error)) throw error
  }
}

function isClosed(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'EPIPE' || code === 'EAGAIN' || code === 'EBADF'
}
