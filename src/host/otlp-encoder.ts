import type { Attributes } from '../report.ts'
import { VERSION } from '../version.ts'
import type { SpanRecord } from './ports.ts'

const [VARINT, FIXED64, BYTES, FIXED32] = [0, 1, 2, 5] as const
const KINDS = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 } as const
const STATUS_ERROR = 2
/** W3C's sampled flag, and SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK: the parent is known not to be remote. */
const FLAGS = 0x101
const KEPT_VALUES = 64
const KEPT_BYTES = 128

/**
 * Encodes spans as an ExportTraceServiceRequest of opentelemetry-proto v1; spans in a row with equal resources share one.
 * Everything is written from its end to its beginning: a message's length, which stands before it, is known by then.
 */
export class OtlpEncoder {
  #bytes = Buffer.allocUnsafe(2 ** 19)
  #size = 0
  // Most attributes occur in many spans and are encoded once; what differs each time, as ids do, must not fill the memory.
  readonly #kept = new Map<string, Map<Attributes[string], Buffer>>()

  get #at(): number {
    return this.#bytes.length - this.#size
  }

  /** The request; its bytes are good until the next call. */
  encode(spans: readonly SpanRecord[]): Uint8Array {
    this.#size = 0
    let end = 0
    for (const [index, span] of [...spans.entries()].reverse()) {
      this.#span(span)
      if (isEqual(span.resource, spans[index - 1]?.resource)) continue
      this.#message(1, () => {
        this.#text(2, VERSION)
        this.#text(1, 'comfy-machine')
      })
      this.#close(2, end)
      this.#message(1, () => this.#attributes(1, span.resource))
      this.#close(1, end)
      end = this.#size
    }
    return this.#bytes.subarray(this.#at)
  }

  #span(span: SpanRecord): void {
    const end = this.#size
    const { error } = span
    this.#fixed(16, FIXED32, FLAGS)
    if (error !== undefined)
      this.#message(15, () => {
        this.#number(3, STATUS_ERROR)
        this.#text(2, error)
      })
    for (const link of span.links.toReversed())
      this.#message(13, () => {
        this.#fixed(6, FIXED32, FLAGS)
        this.#attributes(4, link.attributes ?? {})
        this.#text(2, link.spanId, 'hex')
        this.#text(1, link.traceId, 'hex')
      })
    for (const event of span.events.toReversed())
      this.#message(11, () => {
        this.#attributes(3, event.attributes)
        this.#text(2, event.name)
        this.#time(1, event.atUs)
      })
    this.#attributes(9, span.attributes)
    this.#time(8, span.endUs)
    this.#time(7, span.startUs)
    this.#number(6, KINDS[span.kind ?? 'internal'])
    this.#text(5, span.name)
    if (span.parentSpanId !== undefined) this.#text(4, span.parentSpanId, 'hex')
    this.#text(2, span.spanId, 'hex')
    this.#text(1, span.traceId, 'hex')
    this.#close(2, end)
  }

  #attributes(field: number, attributes: Attributes): void {
    for (const key of Object.keys(attributes).reverse()) {
      const value = attributes[key] ?? ''
      const end = this.#size
      const kept = this.#kept.get(key)?.get(value)
      if (kept === undefined) this.#keyValue(key, value)
      else this.#room(kept.length).set(kept, this.#at)
      this.#close(field, end)
    }
  }

  #keyValue(key: string, value: Attributes[string]): void {
    const end = this.#size
    if (typeof value === 'string') this.#text(1, value)
    else if (typeof value === 'boolean') this.#number(2, value ? 1 : 0)
    else if (Number.isSafeInteger(value)) this.#number(3, value)
    else {
      this.#room(8).writeDoubleLE(value, this.#at)
      this.#varint((4 << 3) | FIXED64)
    }
    this.#close(2, end)
    this.#text(1, key)
    const values = this.#kept.get(key) ?? new Map<Attributes[string], Buffer>()
    if (values.size >= KEPT_VALUES || this.#kept.size >= KEPT_VALUES || this.#size - end > KEPT_BYTES) return
    this.#kept.set(key, values.set(value, Buffer.from(this.#bytes.subarray(this.#at, this.#bytes.length - end))))
  }

  #message(field: number, write: () => void): void {
    const end = this.#size
    write()
    this.#close(field, end)
  }

  #text(field: number, text: string, encoding: 'utf8' | 'hex' = 'utf8'): void {
    const length = Buffer.byteLength(text, encoding)
    this.#room(length).write(text, this.#at, length, encoding)
    this.#close(field, this.#size - length)
  }

  #number(field: number, value: number): void {
    this.#varint(value)
    this.#varint((field << 3) | VARINT)
  }

  /** Microseconds as nanoseconds, which are more than a number holds exactly. */
  #time(field: number, us: number): void {
    const low = (Math.max(0, us) % 2 ** 32) * 1_000
    this.#fixed(
      field,
      FIXED64,
      low % 2 ** 32,
      Math.floor(Math.max(0, us) / 2 ** 32) * 1_000 + Math.floor(low / 2 ** 32),
    )
  }

  #fixed(field: number, type: typeof FIXED32 | typeof FIXED64, low: number, high = 0): void {
    if (type === FIXED64) this.#room(4).writeUInt32LE(high, this.#at)
    this.#room(4).writeUInt32LE(low, this.#at)
    this.#varint((field << 3) | type)
  }

  /** Puts field number and length before all that was written since `end`. */
  #close(field: number, end: number): void {
    this.#varint(this.#size - end)
    this.#varint((field << 3) | BYTES)
  }

  /** A negative number takes ten bytes: the 64 bits of its two's complement. */
  #varint(value: number): void {
    let length = value < 0 ? 10 : 1
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length += 1
    const bytes = this.#room(length)
    let at = this.#at
    for (let rest = value; length > 0; rest = Math.floor(rest / 128), length -= 1)
      bytes[at++] = (rest & 127) | (length > 1 ? 128 : 0)
    if (value < 0) bytes[at - 1] = 1
  }

  /** Makes room for more bytes before those that are written. */
  #room(length: number): Buffer {
    this.#size += length
    if (this.#size <= this.#bytes.length) return this.#bytes
    const larger = Buffer.allocUnsafe(2 * this.#bytes.length + length)
    this.#bytes.copy(larger, larger.length - this.#bytes.length)
    this.#bytes = larger
    return larger
  }
}

function isEqual(one: Attributes, other: Attributes | undefined): boolean {
  const keys = Object.keys(one)
  return keys.length === Object.keys(other ?? {}).length && keys.every((key) => one[key] === other?.[key])
}
