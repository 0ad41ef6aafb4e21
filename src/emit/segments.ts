import path from 'node:path'
import type { Files, SpanRecord } from '../host/ports.ts'
import { pendingDirectory } from './pending.ts'

/** One file of an outbox; numbers grow in the order in which segments were begun. */
export interface Segment {
  readonly number: number
  readonly file: string
  readonly bytes: number
}

/** How far an outbox is delivered: up to `offset` bytes of a segment, and all segments before it. */
export interface Cursor {
  readonly schema: 1
  readonly segment: number
  readonly offset: number
  /** Spans that the collector has taken since the outbox exists. */
  readonly spans: number
  /** When it took the last ones, microseconds since the epoch; 0 for never. */
  readonly atUs: number
}

/** Nothing is delivered. */
export const NO_CURSOR: Cursor = { schema: 1, segment: 0, offset: 0, spans: 0, atUs: 0 }

/** Name of the directory, beside the outboxes, in which the delivery keeps its cursors. */
export const DELIVERED = 'delivered'

/** Name of the file of an outbox that holds how many of its spans were given up undelivered. */
export const LOST_FILE = 'lost'

const SEGMENT = /^([0-9]{8})\.ndjson$/

/** The path of a segment. */
export function segmentFile(directory: string, number: number): string {
  return path.join(directory, `${String(number).padStart(8, '0')}.ndjson`)
}

/** The numbers of an outbox's segments, oldest first. */
export async function listSegmentNumbers(files: Files, directory: string): Promise<readonly number[]> {
  return (await files.list(directory)).flatMap((name) => {
    const number = SEGMENT.exec(name)?.[1]
    return number === undefined ? [] : [Number(number)]
  })
}

/** The segments of an outbox, oldest first. */
export async function listSegments(files: Files, directory: string): Promise<readonly Segment[]> {
  const numbers = await listSegmentNumbers(files, directory)
  const sized = numbers.map(async (number): Promise<Segment> => {
    const file = segmentFile(directory, number)
    return { number, file, bytes: (await files.stat(file))?.bytes ?? 0 }
  })
  return Promise.all(sized)
}

/** The outboxes of a telemetry directory: one per process that writes spans. */
export async function listOutboxes(files: Files, telemetry: string): Promise<readonly string[]> {
  const others = [DELIVERED, path.basename(pendingDirectory(telemetry))]
  const names = (await files.list(telemetry)).filter((name) => !others.includes(name))
  const stats = await Promise.all(names.map((name) => files.lstat(path.join(telemetry, name))))
  return names.filter((_, index) => stats[index]?.kind === 'directory').map((name) => path.join(telemetry, name))
}

/** The file that holds the cursor of an outbox. */
export function cursorFile(directory: string): string {
  return path.join(path.dirname(directory), DELIVERED, `${path.basename(directory)}.json`)
}

/**
 * How far an outbox is delivered. What is no cursor counts as none: to deliver twice is better than never. Throws when the
 * disk does not give it, because that may pass, and to count it as none would send everything again.
 */
export async function readCursor(files: Files, directory: string): Promise<Cursor> {
  // The delivery's user writes there, and a root process reads.
  const text = await files.readForeign(cursorFile(directory)).catch((error: unknown) => {
    const { code } = error as { readonly code?: unknown }
    // Without a code: it is no file. ELOOP: it is a link.
    if (code === undefined || code === 'ELOOP') return undefined
    throw error
  })
  const cursor = text === undefined ? undefined : parseObject(text)
  return cursor?.['schema'] === 1 ? { ...NO_CURSOR, ...cursor } : NO_CURSOR
}

/** How many spans of an outbox were given up undelivered. */
export async function readLost(files: Files, directory: string): Promise<number> {
  const lost = Number((await files.readText(path.join(directory, LOST_FILE))) ?? 0)
  return Number.isSafeInteger(lost) && lost > 0 ? lost : 0
}

/** The spans of the lines that are whole; one that a power cut or a full disk has torn is left out, it cannot be mended. */
export function parseSpans(text: string): readonly SpanRecord[] {
  // A last line without its end is still being written.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  return whole.split('\n').flatMap((line): readonly SpanRecord[] => {
    const span = line.trim() === '' ? undefined : parseObject(line)
    return span !== undefined && isSpan(span) ? [span as unknown as SpanRecord] : []
  })
}

function isSpan(span: Readonly<Record<string, unknown>>): boolean {
  const isObject = (name: string): boolean => typeof span[name] === 'object' && span[name] !== null
  return (
    ['traceId', 'spanId', 'name'].every((name) => typeof span[name] === 'string') &&
    ['startUs', 'endUs'].every((name) => Number.isFinite(span[name])) &&
    ['attributes', 'resource'].every(isObject) &&
    ['events', 'links'].every((name) => Array.isArray(span[name]))
  )
}

function parseObject(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Every span on record in a telemetry directory, delivered or not; `only` keeps the lines that contain a text. */
export async function readSpans(files: Files, telemetry: string, only?: string): Promise<readonly SpanRecord[]> {
  const spans: SpanRecord[] = []
  for (const outbox of await listOutboxes(files, telemetry)) {
    for (const { file } of await listSegments(files, outbox)) {
      const text = (await files.readText(file)) ?? ''
      spans.push(...parseSpans(only === undefined ? text : linesWith(text, only)))
    }
  }
  return spans
}

function linesWith(text: string, part: string): string {
  const lines = text.split('\n')
  lines.pop()
  return lines
    .filter((line) => line.includes(part))
    .map((line) => `${line}\n`)
    .join('')
}
