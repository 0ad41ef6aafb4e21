import type { Clock, Files, SpanRecord } from '../host/ports.ts'
import {
  type Cursor,
  cursorFile,
  listOutboxes,
  listSegmentNumbers,
  listSegments,
  NO_CURSOR,
  parseSpans,
  readCursor,
  readLost,
  segmentFile,
} from './segments.ts'

/** What a delivery works with. */
export interface DeliveryHost {
  readonly files: Files
  readonly clock: Clock
  /** The directory that holds the outboxes. */
  readonly telemetry: string
  /** Resolves when the collector has taken the spans. */
  readonly send: (spans: readonly SpanRecord[]) => Promise<void>
  /** Aborts when the delivery is to end; what is under way is finished. */
  readonly signal: AbortSignal
}

// A collector refuses a request of more than 4 MiB; a span takes less room in OTLP than as JSON.
const PIECE_BYTES = 2 ** 20
const LINE_END = 10
// W3C Trace Context: all zero is no id.
const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/
const SPAN_ID = /^(?!0{16})[0-9a-f]{16}$/

/** Delivers all that the outboxes hold, in the order in which it was written; the number of spans. Rejects with `send`. */
export async function deliverAll(host: DeliveryHost): Promise<number> {
  let spans = 0
  for (const outbox of await listOutboxes(host.files, host.telemetry)) spans += await deliverOutbox(host, outbox)
  return spans
}

async function deliverOutbox({ files, clock, send, signal }: DeliveryHost, directory: string): Promise<number> {
  let cursor = await readCursor(files, directory)
  const before = cursor.spans
  let isFirst = true
  while (!signal.aborted) {
    const piece = await readPiece(files, directory, cursor)
    if (piece === undefined) break
    // On a full disk each try would send the same spans again: nothing is sent that cannot be noted.
    if (isFirst) await files.writeText(cursorFile(directory), `${JSON.stringify(cursor)}\n`)
    isFirst = false
    if (piece.spans.length > 0) await send(piece.spans)
    cursor = { ...piece.next, spans: cursor.spans + piece.spans.length, atUs: clock.nowUs() }
    // Written at once: what is between the collector's answer and this is sent again after a crash.
    await files.writeText(cursorFile(directory), `${JSON.stringify(cursor)}\n`, { durable: true })
  }
  return cursor.spans - before
}

interface Piece {
  readonly spans: readonly SpanRecord[]
  readonly next: Pick<Cursor, 'schema' | 'segment' | 'offset'>
}

/** The next piece after a cursor; undefined when everything that is written is delivered. */
async function readPiece(files: Files, directory: string, cursor: Cursor): Promise<Piece | undefined> {
  const [number, following] = (await listSegmentNumbers(files, directory)).filter((each) => each >= cursor.segment)
  if (number === undefined) return undefined
  const from = number === cursor.segment ? cursor.offset : 0
  const { schema } = NO_CURSOR
  const bytes = await readLines(files, segmentFile(directory, number), from)
  if (bytes.length > 0) {
    const next = { schema, segment: number, offset: from + bytes.length }
    return { spans: parseSpans(new TextDecoder().decode(bytes)).filter(isDeliverable), next }
  }
  // Only a segment that was followed by another is finished.
  return following === undefined ? undefined : { spans: [], next: { schema, segment: following, offset: 0 } }
}

// A collector refuses a request for one such span, and with it all that follow.
const isDeliverable = ({ traceId, spanId }: SpanRecord): boolean => TRACE_ID.test(traceId) && SPAN_ID.test(spanId)

/** Whole lines from an offset on, a piece of them; none when no line has its end yet. */
async function readLines(files: Files, segment: string, from: number): Promise<Uint8Array> {
  // A single line may be longer than a piece.
  for (const length of [PIECE_BYTES, Number.MAX_SAFE_INTEGER]) {
    const bytes = (await files.readBytes(segment, from, length)) ?? new Uint8Array()
    const end = bytes.lastIndexOf(LINE_END) + 1
    if (end > 0) return bytes.subarray(0, end)
    if (bytes.length < length) break
  }
  return new Uint8Array()
}

/** What the outboxes of a telemetry directory hold. */
export interface SpoolFigures {
  readonly spoolBytes: number
  readonly undeliveredBytes: number
  readonly deliveredSpans: number
  readonly lostSpans: number
  /** Microseconds since the epoch; 0 for never. */
  readonly lastDeliveryUs: number
}

/** Adds up what the outboxes hold, from the sizes of files only. */
export async function readSpoolFigures(files: Files, telemetry: string): Promise<SpoolFigures> {
  const outboxes = await listOutboxes(files, telemetry)
  const figures = await Promise.all(outboxes.map((outbox) => readOutboxFigures(files, outbox)))
  const sum = (pick: (each: SpoolFigures) => number): number => figures.reduce((all, each) => all + pick(each), 0)
  return {
    spoolBytes: sum((each) => each.spoolBytes),
    undeliveredBytes: sum((each) => each.undeliveredBytes),
    deliveredSpans: sum((each) => each.deliveredSpans),
    lostSpans: sum((each) => each.lostSpans),
    lastDeliveryUs: Math.max(0, ...figures.map((each) => each.lastDeliveryUs)),
  }
}

async function readOutboxFigures(files: Files, directory: string): Promise<SpoolFigures> {
  const [segments, cursor, lost] = await Promise.all([
    listSegments(files, directory),
    readCursor(files, directory),
    readLost(files, directory),
  ])
  const undelivered = segments
    .filter(({ number }) => number >= cursor.segment)
    .map(({ number, bytes }) => (number === cursor.segment ? bytes - cursor.offset : bytes))
  return {
    spoolBytes: segments.reduce((all, { bytes }) => all + bytes, 0),
    undeliveredBytes: undelivered.reduce((all, bytes) => all + Math.max(0, bytes), 0),
    deliveredSpans: cursor.spans,
    lostSpans: lost,
    lastDeliveryUs: cursor.atUs,
  }
}
