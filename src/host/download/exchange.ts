import type { ResponseHead } from '../../models/response-head.ts'
import type { LineWatch } from './line-watch.ts'

/** Where a request goes. */
export interface Target {
  readonly url: URL
  /** Value of the Authorization header for this very host; null for none. */
  readonly authorization: string | null
}

/** One request and what becomes of its answer. The line that carries it calls each of these in its turn. */
export interface Exchange {
  readonly target: Target
  /** Beside those that every request has. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes that its body is likely to have. */
  readonly expects: number
  /** The head has come. False when the body is not wanted. Throws for an answer that cannot be taken. */
  head(head: ResponseHead): boolean
  /** Bytes of the body; they are valid only while this is called. Returns milliseconds to wait before more is read. */
  body(data: Uint8Array): number
  /** The body was whole. */
  end(): void
  /** The answer did not come to its end. */
  fail(error: unknown): void
  /** It was not begun, through no fault of its own: as if it had never been handed out. */
  abandon(): void
}

/** A connection to one origin that carries one exchange after the other. */
export interface Line {
  readonly origin: string
  readonly watch: LineWatch
  /** Nothing is on its way. */
  isIdle(): boolean
  start(exchange: Exchange): void
  /** Ends it; what is on its way fails with the error. */
  destroy(error: Error): void
}

/** What a line tells its owner. */
export interface LineEvents {
  /** The body is nearly whole and the connection will be kept: another exchange may be sent ahead. */
  next(line: Line): Exchange | undefined
  /** It has nothing more to do. */
  idle(line: Line): void
  closed(line: Line): void
}

/** A body that nobody wants is read to its end up to this size: dearer than a new connection beyond. */
export const SKIPPED_BYTES = 64 * 1024

/** The answer needs more of HTTP than the fast path speaks: the library is to ask again. */
export class NeedsLibrary extends Error {}

/** Where a URL is connected to. */
export function addressOf(url: URL): { readonly host: string; readonly port: number; readonly isSecure: boolean } {
  const isSecure = url.protocol === 'https:'
  const host = url.hostname.replace(/^\[|\]$/g, '')
  return { host, port: url.port === '' ? (isSecure ? 443 : 80) : Number(url.port), isSecure }
}

/** Headers that every request has, the ones of the exchange among them. */
export function headersOf({ target, headers }: Exchange): Readonly<Record<string, string>> {
  return {
    'user-agent': 'comfy-machine',
    accept: '*/*',
    'accept-encoding': 'identity',
    ...(target.authorization === null ? {} : { authorization: target.authorization }),
    ...headers,
  }
}
