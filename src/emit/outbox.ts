import path from 'node:path'
import type { Files, SpanRecord } from '../host/ports.ts'

/** Name of the file of spans that are not yet delivered. */
export const OUTBOX_FILE = 'outbox.ndjson'

/** Name of the file of spans that were delivered, kept for `comfy-machine trace`. */
export const DELIVERED_FILE = 'delivered.ndjson'

/** Name of the file that says how many bytes of the outbox are delivered. */
export const CURSOR_FILE = 'cursor'

/** The write-ahead record of spans: what is appended survives a crash of the controller and an absent collector. */
export interface Outbox {
  append(spans: readonly SpanRecord[]): Promise<void>
}

/** The outbox of a directory that exists. */
export function openOutbox(files: Files, directory: string): Outbox {
  const file = path.join(directory, OUTBOX_FILE)
  // A line that an earlier process could not finish must not swallow the first one of this process.
  let separator = '\n'
  return {
    async append(spans) {
      if (spans.length === 0) return
      await files.appendText(file, separator + spans.map((span) => `${JSON.stringify(span)}\n`).join(''), {
        durable: true,
        mode: 0o644,
      })
      separator = ''
    },
  }
}

// Without a collector the record is kept for `comfy-machine trace`; a host must not fill up with it.
const LARGEST_RECORD_BYTES = 64 * 2 ** 20

/** Begins a record anew when all of it is delivered, and sets an undelivered one aside when it has grown too large. */
export async function trimOutbox(files: Files, directory: string): Promise<void> {
  const [outbox, cursor] = [path.join(directory, OUTBOX_FILE), path.join(directory, CURSOR_FILE)]
  const bytes = (await files.stat(outbox))?.bytes ?? 0
  const delivered = Number((await files.readText(cursor)) ?? 0)
  const isDelivered = bytes > 0 && delivered >= bytes
  if (!isDelivered && bytes < LARGEST_RECORD_BYTES) return
  await files.remove(cursor)
  await (isDelivered ? files.remove(outbox) : files.rename(outbox, `${outbox}.1`))
}

/** The spans of the lines that are whole; one that a power cut or a full disk has torn is left out, it cannot be mended. */
export function parseSpans(text: string): readonly SpanRecord[] {
  // A last line without its end is still being written.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  return whole.split('\n').flatMap((line): readonly SpanRecord[] => {
    if (line.trim() === '') return []
    try {
      return [JSON.parse(line) as SpanRecord]
    } catch (error) {
      if (error instanceof SyntaxError) return []
      throw error
    }
  })
}
