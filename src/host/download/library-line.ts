import http from 'node:http'
import https from 'node:https'
import { headOf } from '../../models/response-head.ts'
import { openAgent } from '../http-client.ts'
import { type Exchange, fault, headersOf, type Line, type LineEvents } from './exchange.ts'
import { LineWatch } from './line-watch.ts'

/** The agents of the library, one connection per line that is used again. */
export interface LibraryAgents {
  readonly plain: http.Agent
  readonly secure: https.Agent
}

/** Agents that go through the operator's proxies. */
export function openLibraryAgents(proxies: Readonly<Record<string, string>>, connectMs: number): LibraryAgents {
  const settings = { keepAlive: true }
  return {
    plain: openAgent(false, proxies, connectMs, settings),
    secure: openAgent(true, proxies, connectMs, settings) as https.Agent,
  }
}

/** HTTP by node:http: for proxies, and for answers that need more of HTTP than the fast path speaks. */
export class LibraryLine implements Line {
  readonly origin: string
  readonly watch = new LineWatch()
  readonly #events: LineEvents
  readonly #agents: LibraryAgents
  #current: Exchange | undefined
  #request: http.ClientRequest | undefined
  #isClosed = false

  constructor(url: URL, events: LineEvents, agents: LibraryAgents) {
    this.origin = url.origin
    this.#events = events
    this.#agents = agents
  }

  isIdle(): boolean {
    return this.#current === undefined && !this.#isClosed
  }

  start(exchange: Exchange): void {
    const { url } = exchange.target
    const isSecure = url.protocol === 'https:'
    this.#current = exchange
    this.watch.begin()
    const options = { agent: isSecure ? this.#agents.secure : this.#agents.plain, headers: headersOf(exchange) }
    const request = (isSecure ? https : http).get(url, options)
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
    this.#isClosed = true
    this.#request?.destroy()
    const current = this.#current
    this.#current = undefined
    current?.fail(error)
    this.#events.closed(this)
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
    if (!isWanted && headers.has('content-length') && Number(headers.get('content-length')) > 65_536)
      this.#drop(exchange)
  }

  #drop(exchange: Exchange): void {
    this.#isClosed = true
    this.#current = undefined
    this.#request?.destroy()
    exchange.end()
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
