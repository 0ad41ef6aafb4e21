import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { MachineError } from '../errors.ts'
import { listenFds } from './listen-fds.ts'
import type { HttpHandler, HttpListen, HttpReply, HttpServer, ServerEvent } from './ports.ts'

/** An import of node:http evaluates its lazy exports and with them all of undici: 13 MB and some 20 ms that no server needs. */
const { createServer } = process.getBuiltinModule('node:http')

const HEARTBEAT_MS = 15_000
/** How long a server that closes goes on answering what it was asked. */
const ANSWERING_MS = 1_000
/** A reader that leaves this much unread is dropped. */
const UNREAD_BYTES = 1024 * 1024
const MOST_READERS = 128
const MOST_CONNECTIONS = 512
const COMMON_HEADERS = { 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }

/** Serves HTTP/1.1 on an inherited socket or a port; resolves when it listens. Throws CM1201 when the port is taken. */
export async function serveHttp(handler: HttpHandler, where: HttpListen): Promise<HttpServer> {
  const readers = new Set<ServerResponse>()
  let isClosing = false
  const server = createServer({ connectionsCheckingInterval: 30_000 }, (request, response) => {
    response.once('close', () => {
      if (isClosing) server.closeIdleConnections()
    })
    handle(request, response, handler, readers).catch((error: unknown) => {
      handler.failed(error)
      refuse(response)
    })
  })
  server.maxConnections = MOST_CONNECTIONS
  const beat = (): void => {
    if (readers.size === 0) return
    handler.beat()
    for (const reader of readers) send(reader, ': heartbeat\n\n', readers)
  }
  await listenOn(server, where)
  const heartbeat = setInterval(beat, HEARTBEAT_MS)
  return {
    readers: () => readers.size,
    broadcast(events) {
      if (events.length === 0) return
      const text = events.map(encodeEvent).join('')
      for (const reader of readers) send(reader, text, readers)
    },
    async close() {
      clearInterval(heartbeat)
      isClosing = true
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const reader of readers) reader.end()
      // Who has asked gets an answer; who goes on asking gets it from the next server.
      const patience = setTimeout(() => server.closeAllConnections(), ANSWERING_MS)
      await closed
      clearTimeout(patience)
    },
  }
}

/** The descriptor of a socket that systemd passed to this process under a name, sd_listen_fds_with_names(3). */
export function inheritedSocket(name: string): number | undefined {
  return listenFds(process.env, process.pid).get(name)
}

/** One event in the format of the event stream; its data is a single line. */
function encodeEvent(event: ServerEvent): string {
  return `event: ${event.event}\ndata: ${event.data}\n\n`
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  handler: HttpHandler,
  readers: Set<ServerResponse>,
): Promise<void> {
  const method = request.method ?? 'GET'
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/'
  request.resume()
  if (path !== handler.eventsPath || (method !== 'GET' && method !== 'HEAD')) {
    reply(response, await handler.answer({ method, path }), method === 'HEAD')
  } else if (method === 'HEAD') {
    reply(response, { status: 200, headers: { 'content-type': 'text/event-stream' }, body: '' }, true)
  } else if (readers.size >= MOST_READERS) {
    const body = `${JSON.stringify({ error: 'too_many_readers', message: `${MOST_READERS} read the events already` })}\n`
    reply(response, { status: 503, headers: { 'content-type': 'application/json' }, body }, false)
  } else {
    await stream(response, handler, readers)
  }
}

async function stream(response: ServerResponse, handler: HttpHandler, readers: Set<ServerResponse>): Promise<void> {
  await handler.prepare()
  if (response.destroyed) return
  response.writeHead(200, { ...COMMON_HEADERS, 'content-type': 'text/event-stream' })
  readers.add(response)
  response.on('close', () => readers.delete(response))
  send(response, ['retry: 2000\n\n', ...handler.greet().map(encodeEvent)].join(''), readers)
}

function send(reader: ServerResponse, text: string, readers: Set<ServerResponse>): void {
  reader.write(text)
  if (reader.writableLength <= UNREAD_BYTES) return
  readers.delete(reader)
  reader.destroy()
}

function reply(response: ServerResponse, answer: HttpReply, headOnly: boolean): void {
  const body = Buffer.from(answer.body)
  response.writeHead(answer.status, { ...COMMON_HEADERS, ...answer.headers, 'content-length': body.length })
  response.end(headOnly ? undefined : body)
}

function refuse(response: ServerResponse): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const body = `${JSON.stringify({ error: 'internal', message: 'this request could not be answered' })}\n`
  reply(response, { status: 500, headers: { 'content-type': 'application/json' }, body }, false)
}

/** Has a server listen; resolves when it does. Throws CM1201 when the port is taken. */
export function listenOn(server: Server, where: HttpListen): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const taken = error.code === 'EADDRINUSE' && 'port' in where
      reject(taken ? new MachineError('CM1201', `port ${where.port} is taken`, { cause: error }) : error)
    })
    server.once('listening', () => {
      server.removeAllListeners('error')
      resolve()
    })
    if ('fd' in where) server.listen({ fd: where.fd })
    else server.listen(where.port, where.host)
  })
}
