/** The place of a span in a trace, as W3C Trace Context level 1 (w3.org/TR/trace-context-1) names it. */
export interface TraceContext {
  /** 32 lowercase hex digits. */
  readonly traceId: string
  /** 16 lowercase hex digits: `parent-id` of the one who hands it on. */
  readonly spanId: string
  /** `trace-flags` as two hex digits; bit 0 is `sampled`. */
  readonly flags: string
  /** `tracestate`, handed on as it came; absent where there is none or it is malformed. */
  readonly traceState?: string
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const KEY = /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})$/
const VALUE = /^[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/
const MOST_MEMBERS = 32

/** Reads a pair of headers; undefined for a `traceparent` that the specification says to ignore. */
export function parseContext(traceparent: unknown, tracestate?: unknown): TraceContext | undefined {
  if (typeof traceparent !== 'string') return undefined
  const [, version = 'ff', traceId = '', spanId = '', flags = '', rest] = TRACEPARENT.exec(traceparent) ?? []
  // Version 0 ends with its flags; a later one may go on behind a hyphen.
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  const traceState = parseState(tracestate)
  return { traceId, spanId, flags, ...(traceState === undefined ? {} : { traceState }) }
}

/** The context that a job's producer gave it: in the job's data, else in BullMQ's telemetry metadata (JSON of a carrier). */
export function contextOfJob(data: unknown, metadata: string | undefined): TraceContext | undefined {
  return contextIn(data) ?? contextIn(parseCarrier(metadata))
}

/** A context as `traceparent` of version 0, and `tracestate` where there is one. */
export function toCarrier({ traceId, spanId, flags, traceState }: TraceContext): Readonly<Record<string, string>> {
  const traceparent = `00-${traceId}-${spanId}-${flags}`
  return traceState === undefined ? { traceparent } : { traceparent, tracestate: traceState }
}

/** Whether the one who hands a context on may have recorded its span. */
export function isSampled({ flags }: TraceContext): boolean {
  return (Number.parseInt(flags, 16) & 1) === 1
}

function contextIn(carrier: unknown): TraceContext | undefined {
  if (typeof carrier !== 'object' || carrier === null) return undefined
  const { traceparent, tracestate } = carrier as { readonly traceparent?: unknown; readonly tracestate?: unknown }
  return parseContext(traceparent, tracestate)
}

function parseCarrier(metadata: string | undefined): unknown {
  if (metadata === undefined) return undefined
  try {
    return JSON.parse(metadata)
  } catch (error) {
    // A producer's library writes there what it likes; a text that is no carrier gives no context.
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** A list of at most 32 members with keys that differ; one that is not is dropped as a whole, as the specification wants. */
function parseState(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined
  const members = value
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '')
  const keys = members.map((member) => member.slice(0, member.indexOf('=')))
  const isValid = members.every((member, index) => {
    const key = keys[index] ?? ''
    return KEY.test(key) && VALUE.test(member.slice(key.length + 1))
  })
  if (!isValid || members.length === 0 || members.length > MOST_MEMBERS) return undefined
  return new Set(keys).size === keys.length ? members.join(',') : undefined
}
