import path from 'node:path'
import { messageOf } from '../errors.ts'
import type { Files, SpanRecord } from '../host/ports.ts'
import { markPending } from './pending.ts'
import { LOST_FILE, listSegments, readCursor, readLost, type Segment, segmentFile } from './segments.ts'

/** The write-ahead record of one process's spans: what is appended survives its crash and an absent collector. */
export interface Outbox {
  /**
   * Appends spans; resolves when they are in the file. Rejects when they are not, and keeps them in memory then: they are
   * written before those of the next call, which may be empty.
   */
  append(spans: readonly SpanRecord[]): Promise<void>
}

/** How an outbox is kept. */
export interface OutboxOptions {
  /** fdatasync after each append, so that it survives a power cut as well. */
  readonly durable?: boolean
  /** A segment is followed by the next one when it has grown to this. */
  readonly segmentBytes?: number
  /** What is undelivered may grow to this; the oldest is given up and counted as lost then. */
  readonly largestBytes?: number
  /** What is delivered is kept up to this, for `comfy-machine trace`. */
  readonly keptBytes?: number
  /** Spans that a full disk may keep in memory; the oldest is given up then. */
  readonly heldSpans?: number
  /** Told of spans that were given up undelivered: how many now. */
  readonly onLost?: (count: number) => void
}

const MIB = 2 ** 20
const DEFAULTS = {
  durable: false,
  segmentBytes: MIB,
  largestBytes: 64 * MIB,
  keptBytes: 16 * MIB,
  heldSpans: 20_000,
  onLost: (_count: number): void => undefined,
}

/** The outbox of a directory that exists and that no other process writes. */
export function openOutbox(files: Files, directory: string, options: OutboxOptions = {}): Outbox {
  return new SegmentedOutbox(files, directory, { ...DEFAULTS, ...options })
}

class SegmentedOutbox implements Outbox {
  readonly #files: Files
  readonly #directory: string
  readonly #options: typeof DEFAULTS
  #lines: string[] = []
  #turn: Promise<void> = Promise.resolve()
  #segment: Segment | undefined
  // Not yet in the file that counts what was given up.
  #uncounted = 0
  // Written, and neither counted nor marked yet.
  #isUntold = false
  // A line that an earlier process, or a full disk, has torn must not swallow the next one.
  #isTorn = true

  constructor(files: Files, directory: string, options: typeof DEFAULTS) {
    this.#files = files
    this.#directory = directory
    this.#options = options
  }

  append(spans: readonly SpanRecord[]): Promise<void> {
    this.#lines.push(...spans.map((span) => `${JSON.stringify(span)}\n`))
    const write = (): Promise<void> => this.#write()
    this.#turn = this.#turn.then(write, write)
    return this.#turn
  }

  async #write(): Promise<void> {
    if (this.#lines.length > 0) await this.#putLines()
    if (!this.#isUntold) return
    // Only now: spans that are in the file must not be written again because this fails.
    await this.#countLost()
    await markPending(this.#files, this.#directory)
    this.#isUntold = false
  }

  async #putLines(): Promise<void> {
    const lines = this.#lines
    this.#lines = []
    try {
      await this.#put(lines.join(''))
    } catch (error) {
      this.#isTorn = true
      this.#hold([...lines, ...this.#lines])
      throw error
    }
  }

  #hold(lines: string[]): void {
    const excess = lines.length - this.#options.heldSpans
    this.#lines = excess > 0 ? lines.slice(excess) : lines
    this.#lose(Math.max(0, excess))
  }

  async #put(text: string): Promise<void> {
    const segment = await this.#openSegment()
    const whole = this.#isTorn && segment.bytes > 0 ? `\n${text}` : text
    const { durable } = this.#options
    for (;;) {
      try {
        await this.#files.appendText(segment.file, whole, { durable, mode: 0o644 })
        break
      } catch (error) {
        // On a full volume the newest spans are worth more than the oldest.
        if (!isFull(error) || !(await this.#giveUpOldest())) throw error
      }
    }
    this.#isTorn = false
    this.#segment = { ...segment, bytes: segment.bytes + Buffer.byteLength(whole) }
    this.#isUntold = true
  }

  async #openSegment(): Promise<Segment> {
    this.#segment ??= (await listSegments(this.#files, this.#directory)).at(-1)
    const last = this.#segment
    if (last !== undefined && last.bytes < this.#options.segmentBytes) return last
    const number = (last?.number ?? 0) + 1
    this.#segment = { number, file: segmentFile(this.#directory, number), bytes: 0 }
    this.#isTorn = false
    await this.#trim()
    return this.#segment
  }

  /** Gives up segments, oldest first, until what is left fits. */
  async #trim(): Promise<void> {
    const segments = await listSegments(this.#files, this.#directory)
    const cursor = await readCursor(this.#files, this.#directory)
    let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0)
    for (const segment of segments) {
      const limit = segment.number < cursor.segment ? this.#options.keptBytes : this.#options.largestBytes
      if (bytes <= limit) return
      await this.#giveUp(segment)
      bytes -= segment.bytes
    }
  }

  async #giveUpOldest(): Promise<boolean> {
    const [oldest] = await listSegments(this.#files, this.#directory)
    if (oldest === undefined || oldest.number === this.#segment?.number) return false
    await this.#giveUp(oldest)
    return true
  }

  async #giveUp(segment: Segment): Promise<void> {
    const cursor = await readCursor(this.#files, this.#directory)
    const isDelivered = segment.number < cursor.segment
    const text = isDelivered ? '' : ((await this.#files.readText(segment.file)) ?? '')
    const from = segment.number === cursor.segment ? cursor.offset : 0
    const lost = Buffer.from(text)
      .subarray(from)
      .toString()
      .split('\n')
      .filter((line) => line !== '').length
    await this.#files.remove(segment.file)
    this.#lose(lost)
  }

  #lose(count: number): void {
    if (count === 0) return
    this.#uncounted += count
    this.#options.onLost(count)
  }

  async #countLost(): Promise<void> {
    if (this.#uncounted === 0) return
    const all = this.#uncounted + (await readLost(this.#files, this.#directory))
    await this.#files.writeText(path.join(this.#directory, LOST_FILE), String(all))
    this.#uncounted = 0
  }
}

/** True for the errors of a volume without space: ENOSPC and EDQUOT, errno(3). */
function isFull(error: unknown): boolean {
  return /\b(ENOSPC|EDQUOT)\b/.test(messageOf(error))
}
