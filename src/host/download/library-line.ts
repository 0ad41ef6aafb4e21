import http from 'node:http'
import https from 'node:https'
import { headOf } from '../../models/response-head.ts'
import { openAgent } from '../agent.ts'
import { fault } from '../fault.ts'
import { type Exchange, headersOf, type Line, type LineEvents, SKIPPED_BYTES } from './exchange.ts'
import { LineWatch } from './line-watch.ts'

/** HTTP by node:http: for proxies, and for answers that need more of HTTP than the fast path speaks. */
export class LibraryLine implements Line {
  readonly origin: string
  readonly watch = new LineWatch()
  readonly #events: LineEvents
  /** Of its own, so that a line is one connection. */
  readonly #agent: http.Agent
  #current: Exchange | undefined
  #request: http.ClientRequest | undefined
  #isClosed = false

  constructor(url: URL, events: LineEvents, proxies: Readonly<Record<string, string>>, connectMs: number) {
    this.origin = url.origin
    this.#events = events
    this.#agent = openAgent(url.protocol === 'https:', proxies, connectMs, { keepAlive: true, maxSockets: 1 })
  }

  isIdle(): boolean {
    return this.#current === undefined && !this.#isClosed
  }

  start(exchange: Exchange): void {
    const { url } = exchange.target
    this.#current = exchange
    this.watch.begin()
    const get = url.protocol === 'https:' ? https.get : http.get
    const request = get(url, { agent: this.#agent, headers: headersOf(exchange) })
    this.#request = request
    request.on('error', (error) => this.destroy(error))
    request.on('response', (response) => {
      try {
        this.#receive(exchange, response)
      } catch (thrown) {
        this.destroy(thrown as Error)
      }
    })
  }

  destroy(error: Error): void {
    if (this.#isClosed) return
    const current = this.#close()
    current?.fail(error)
    this.#events.closed(this)
  }

  #close(): Exchange | undefined {
    const current = this.#current
    this.#isClosed = true
    this.#current = undefined
    this.#request?.destroy()
    this.#agent.destroy()
    return current
  }

  #receive(exchange: Exchange, response: http.IncomingMessage): void {
    const headers = new Map(
      Object.entries(response.headers).map(([name, value]) => [
        name,
        Array.isArray(value) ? value.join(', ') : (value ?? ''),
      ]),
    )
    const isWanted = exchange.head(headOf(response.statusCode ?? 0, response.statusMessage ?? '', headers, true))
    response.on('data', (data: Buffer) => {
      if (this.#isClosed) return
      this.watch.see(data.length)
      if (isWanted) this.#pass(exchange, response, data)
    })
    response.on('end', () => {
      if (this.#isClosed) return
      this.#current = undefined
      this.watch.end()
      exchange.end()
      if (this.isIdle()) this.#events.idle(this)
    })
    response.on('error', (error) => this.destroy(error))
    response.on('close', () => {
      if (!response.complete) this.destroy(fault('ECONNRESET', 'the connection was closed before the answer was whole'))
    })
    if (isWanted || Number(headers.get('content-length') ?? 0) <= SKIPPED_BYTES) return
    this.#close()?.end()
    this.#events.closed(this)
  }

  #pass(exchange: Exchange, response: http.IncomingMessage, data: Buffer): void {
    try {
      const waitMs = exchange.body(data)
      if (waitMs <= 0) return
      this.watch.pause()
      response.pause()
      setTimeout(() => {
        this.watch.resume()
        response.resume()
      }, waitMs)
    } catch (thrown) {
      this.destroy(thrown as Error)
    }
  }
}
