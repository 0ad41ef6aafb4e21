import { connect as connectPlain, isIP, type Socket } from 'node:net'
import { connect as connectSecure } from 'node:tls'
import type { ResponseHead } from '../../models/response-head.ts'
import { fault } from '../fault.ts'
import {
  addressOf,
  type Exchange,
  headersOf,
  type Line,
  type LineEvents,
  NeedsLibrary,
  SKIPPED_BYTES,
} from './exchange.ts'
import { Gather } from './gather.ts'
import { HeadReader } from './head-reader.ts'
import { LineWatch } from './line-watch.ts'

/** The next request is sent at the latest when so many bytes of a body are still to come. */
const EARLY_BYTES = 256 * 1024
/** TLS delivers records of 16 KiB: they are gathered, because each write costs a system call. */
const GATHERED_BYTES = 256 * 1024
/** The rest of a body that is read to its end, whoever else waits. */
const REST_BYTES = 1024 * 1024
/** Requests under way on one connection, the one whose body comes among them. */
const MOST_AHEAD = 4

/**
 * HTTP/1.1 on a bare socket: the bytes of a body go from one buffer, which all lines share, into the file, with no stream in
 * between. It speaks what file servers speak (a known length, a kept connection, a request sent ahead) and fails with
 * NeedsLibrary where an answer needs more.
 */
export class SocketLine implements Line {
  readonly origin: string
  readonly watch = new LineWatch()
  readonly #events: LineEvents
  readonly #socket: Socket
  readonly #bufferBytes: number
  readonly #gather: Gather
  readonly #heads = new HeadReader()
  readonly #queue: Exchange[] = []
  #answer: ResponseHead | undefined
  #left = 0
  #isWanted = true
  #isClosed = false
  #served = 0
  #sentMs = 0
  #wasAhead = false
  #answerMs = 0
  #bodyMs = 0
  #bodyBytes = 0
  #lastPerMs = 0

  constructor(url: URL, events: LineEvents, buffer: Buffer, connectMs: number) {
    const { host, port, isSecure } = addressOf(url)
    this.origin = url.origin
    this.#events = events
    this.#bufferBytes = buffer.length
    this.#gather = new Gather(isSecure ? GATHERED_BYTES : 0, (data) => this.#pass(data))
    const onread = { buffer, callback: (count: number, data: Uint8Array) => this.#onRead(data, count) }
    const options = { host, port, onread, noDelay: true }
    this.#socket = isSecure
      ? connectSecure({ ...options, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 ? { servername: host } : {}) })
      : connectPlain(options)
    const timer = setTimeout(
      () => this.destroy(fault('ETIMEDOUT', `no connection within ${connectMs / 1000} s`)),
      connectMs,
    )
    this.#socket.once(isSecure ? 'secureConnect' : 'connect', () => clearTimeout(timer))
    this.#socket.on('error', (error) => this.destroy(error))
    this.#socket.on('close', () => {
      clearTimeout(timer)
      this.destroy(fault('ECONNRESET', 'the connection was closed before the answer was whole'))
      this.#events.closed(this)
    })
  }

  isIdle(): boolean {
    return this.#queue.length === 0 && !this.#isClosed
  }

  start(exchange: Exchange): void {
    if (this.#queue.length === 0) {
      this.watch.begin()
      this.#sentMs = Date.now()
      this.#wasAhead = false
    }
    this.#queue.push(exchange)
    const { url } = exchange.target
    const head = Object.entries({ host: url.host, ...headersOf(exchange) })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')
    this.#socket.write(`GET ${url.pathname}${url.search} HTTP/1.1\r\n${head}\r\n`, 'latin1')
  }

  destroy(error: Error): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.destroy()
    const failure = this.#flushLast(error)
    const [current, ...ahead] = this.#queue.splice(0)
    // A kept connection may be closed by the other side at any moment: a request that crosses that is no failure.
    const isCrossed = this.#served > 0 && this.#answer === undefined && this.#heads.isEmpty()
    if (isCrossed) current?.abandon()
    else current?.fail(failure)
    for (const exchange of ahead) exchange.abandon()
  }

  #onRead(data: Uint8Array, count: number): boolean {
    this.watch.see(0)
    try {
      let at = 0
      while (at < count && !this.#isClosed) {
        at += this.#answer === undefined ? this.#readHead(data, at, count) : this.#readBody(data, at, count)
      }
    } catch (thrown) {
      this.#gather.drop()
      this.destroy(thrown as Error)
    }
    return this.#isToGoOn(count)
  }

  /**
   * Without this libuv reads one socket 32 times in a row while it fills the buffer: on a fast link few connections would carry
   * everything, and the one with the next bytes to hash would starve.
   */
  #isToGoOn(count: number): boolean {
    if (this.watch.isPaused) return false
    if (count < this.#bufferBytes || this.#left <= REST_BYTES || this.#isClosed) return true
    setImmediate(() => {
      if (!this.watch.isPaused && !this.#isClosed) this.#socket.resume()
    })
    return false
  }

  #readHead(data: Uint8Array, at: number, count: number): number {
    const { used, head } = this.#heads.read(data, at, count)
    // 1xx comes before the answer (RFC 9110, 15.2).
    if (head !== undefined && head.status >= 200) this.#open(head)
    return used
  }

  #open(head: ResponseHead): void {
    const exchange = this.#queue[0]
    if (exchange === undefined) throw fault('EPROTO', 'an answer came that nobody asked for')
    this.#answer = head
    // Of a request that was sent ahead the time tells nothing.
    if (this.#queue.length === 1 && !this.#wasAhead) this.#answerMs = Date.now() - this.#sentMs
    this.#bodyMs = Date.now()
    this.#bodyBytes = 0
    if (head.length === null && head.status < 300) throw new NeedsLibrary('the answer does not tell its length')
    this.#left = head.length ?? Number.MAX_SAFE_INTEGER
    this.#isWanted = exchange.head(head)
    if (!this.#isWanted && this.#left > SKIPPED_BYTES) this.#drop()
    else if (this.#left === 0) this.#end()
    else this.#askAhead()
  }

  /** The body is not worth being read: the exchange has ended, and with it the connection. */
  #drop(): void {
    const [current, ...ahead] = this.#queue.splice(0)
    this.#isClosed = true
    this.#socket.destroy()
    current?.end()
    for (const exchange of ahead) exchange.abandon()
  }

  #readBody(data: Uint8Array, at: number, count: number): number {
    const length = Math.min(count - at, this.#left)
    this.#left -= length
    this.#bodyBytes += length
    this.watch.see(length)
    if (this.#isWanted) this.#gather.add(data.subarray(at, at + length))
    if (this.#left === 0) this.#end()
    else this.#askAhead()
    return length
  }

  #pass(data: Uint8Array): void {
    const waitMs = this.#queue[0]?.body(data) ?? 0
    if (waitMs <= 0 || this.watch.isPaused) return
    this.watch.pause()
    this.#socket.pause()
    setTimeout(() => {
      this.watch.resume()
      if (!this.#isClosed) this.#socket.resume()
    }, waitMs)
  }

  /** What was gathered has arrived, whatever comes after. */
  #flushLast(error: Error): Error {
    try {
      if (this.#answer !== undefined && this.#isWanted) this.#gather.flush()
      return error
    } catch (thrown) {
      return thrown as Error
    }
  }

  #end(): void {
    if (this.#isWanted) this.#gather.flush()
    if (this.#isClosed) return
    const isKept = this.#answer?.isKept === true
    this.#lastPerMs = this.#bodyBytes / Math.max(1, Date.now() - this.#bodyMs)
    this.#answer = undefined
    this.#served += 1
    const [current, ...ahead] = this.#queue
    this.#queue.shift()
    this.#wasAhead = this.#queue.length > 0
    if (!isKept) {
      this.#isClosed = true
      this.#socket.destroy()
      this.#queue.length = 0
    }
    current?.end()
    if (isKept) {
      if (this.#queue.length > 0) return
      this.watch.end()
      this.#events.idle(this)
      return
    }
    for (const exchange of ahead) exchange.abandon()
  }

  /** Sends further requests so early that their answers follow this body without a pause. */
  #askAhead(): void {
    if (this.#answer?.isKept !== true || !this.#isWanted) return
    const perMs = this.#bodyBytes / Math.max(1, Date.now() - this.#bodyMs)
    const early = Math.max(EARLY_BYTES, Math.max(perMs, this.#lastPerMs) * this.#answerMs * 1.25)
    while (this.#queue.length < MOST_AHEAD && this.#promised() <= early) {
      const next = this.#events.next(this)
      if (next === undefined) return
      this.start(next)
    }
  }

  #promised(): number {
    return this.#queue.slice(1).reduce((sum, { expects }) => sum + expects, this.#left)
  }
}
