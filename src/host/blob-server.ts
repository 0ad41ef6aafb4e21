import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { answerBlob, type BlobAnswer, BUSY, NOT_FOUND, readBlobRequest, UNREADABLE } from '../models/blob-answer.ts'
import type { ByteRange } from '../models/range-set.ts'
import { listenOn } from './http-server.ts'
import type { HttpListen } from './ports.ts'

/** As in http-server.ts: an import would load all of undici. */
const { createServer } = process.getBuiltinModule('node:http')

const MOST_CONNECTIONS = 64
/** Beyond those that are told to come again later, connections are closed without a word. */
const MOST_TOLD = 4 * MOST_CONNECTIONS
const STALL_MS = 60_000
const KEPT_MS = 30_000
const PIECE_BYTES = 256 * 1024
// A link may lead anywhere, and the opening of a FIFO would wait for ever.
const FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK
/** No file, a link, a socket, a way that is none: nothing of the store. */
const NOT_THERE = ['ENOENT', 'ELOOP', 'ENXIO', 'ENOTDIR']

/** How contents of a store are served. */
export interface BlobServerOptions {
  /** Folder of the contents, each named by its sha256. */
  readonly blobs: string
  readonly where: HttpListen
  /** Milliseconds without a connection after which the server ends. */
  readonly idleMs: number
  /** Told why a content could not be read; the client's connection was cut, or it got a 500. */
  readonly failed: (error: unknown) => void
  /** Connections that are served at once; default 64. */
  readonly connections?: number
  /** Milliseconds after which a client that takes nothing is dropped; default 60,000. */
  readonly stallMs?: number
}

/** What a server has done so far. */
export interface BlobCounts {
  /** Connections that are open now. */
  readonly connections: number
  /** Contents, and ranges of them, that were asked for and there. */
  readonly requests: number
  /** Bytes of contents that were sent. */
  readonly bytes: number
}

/** A running server of contents. */
export interface BlobServer {
  /** Resolves when nobody was connected for `idleMs`; from then on it takes no connection any more, and leaves them to whoever has the socket next. */
  readonly idle: Promise<void>
  counts(): BlobCounts
  /** Ends every connection at once. */
  close(): Promise<void>
}

/**
 * Serves the contents of a store over HTTP/1.1: GET and HEAD of `/blobs/sha256/<hex>`, one range of it, and nothing else. An
 * answer is never shorter than it says: the connection is cut where a content cannot be read to its end. Resolves when it
 * listens.
 */
export async function serveBlobs(options: BlobServerOptions): Promise<BlobServer> {
  const { blobs, where, idleMs, failed, connections = MOST_CONNECTIONS, stallMs = STALL_MS } = options
  const open = new Set<Socket>()
  const surplus = new WeakSet<Socket>()
  const idle = Promise.withResolvers<void>()
  const sent = { requests: 0, bytes: 0 }
  const server = createServer(
    { keepAliveTimeout: KEPT_MS, connectionsCheckingInterval: 30_000 },
    (request, response) =>
      void serve(request, response).catch((error: unknown) => {
        failed(error)
        if (response.headersSent) response.destroy()
        else reply(response, UNREADABLE)
      }),
  )
  server.maxConnections = MOST_TOLD
  server.timeout = stallMs

  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '', headers } = request
    request.resume()
    if (surplus.has(request.socket)) return reply(response, BUSY)
    const wanted = { method, url, range: headers.range, ifRange: headers['if-range']?.toString() }
    const sha256 = readBlobRequest(wanted)
    if (typeof sha256 !== 'string') return reply(response, sha256)
    const file = await openRegular(join(blobs, sha256))
    if (file === undefined) return reply(response, NOT_FOUND)
    try {
      const answer = answerBlob(sha256, file.size, wanted)
      if (answer.body === null) return reply(response, answer)
      sent.requests += 1
      response.writeHead(answer.status, answer.headers)
      const isWhole = await send(file.handle, answer.body, response, (count) => {
        sent.bytes += count
      })
      if (isWhole) response.end()
    } finally {
      await file.handle.close()
    }
  }

  await listenOn(server, where)
  const awaitRest = (): NodeJS.Timeout =>
    setTimeout(() => {
      server.close()
      idle.resolve()
    }, idleMs)
  let rest = awaitRest()
  server.on('connection', (socket: Socket) => {
    clearTimeout(rest)
    if (open.size >= connections) surplus.add(socket)
    open.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      if (open.size === 0 && server.listening) rest = awaitRest()
    })
  })
  return {
    idle: idle.promise,
    counts: () => ({ connections: open.size, ...sent }),
    async close() {
      clearTimeout(rest)
      if (!server.listening) return
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
    },
  }
}

/** A regular file and its size; undefined where there is none of this name, or something else. */
async function openRegular(path: string): Promise<{ readonly handle: FileHandle; readonly size: number } | undefined> {
  const handle = await open(path, FLAGS).catch((error: NodeJS.ErrnoException) => {
    if (NOT_THERE.includes(error.code ?? '')) return undefined
    throw error
  })
  if (handle === undefined) return undefined
  const stat = await handle.stat()
  if (stat.isFile()) return { handle, size: stat.size }
  await handle.close()
  return undefined
}

function reply(response: ServerResponse, { status, headers }: BlobAnswer): void {
  response.writeHead(status, headers).end()
}

/**
 * Sends bytes of a file, the next piece read while the one before is taken; false when the client went away. Throws when the
 * file ends before.
 */
async function send(
  file: FileHandle,
  { from, to }: ByteRange,
  response: ServerResponse,
  onBytes: (count: number) => void,
): Promise<boolean> {
  const size = Math.min(PIECE_BYTES, to - from)
  let [next, other] = [Buffer.allocUnsafeSlow(size), Buffer.allocUnsafeSlow(size)]
  let taken = Promise.resolve(true)
  for (let at = from; at < to; ) {
    const { bytesRead } = await file.read(next, 0, Math.min(size, to - at), at)
    if (bytesRead === 0) throw new RangeError(`a content of the store ends after ${at} of ${to} bytes`)
    if (!(await taken)) return false
    taken = write(response, next.subarray(0, bytesRead), onBytes)
    at += bytesRead
    ;[next, other] = [other, next]
  }
  return taken
}

/** Resolves when all of it is with the kernel, to false when it never will be. */
function write(response: ServerResponse, data: Uint8Array, onBytes: (count: number) => void): Promise<boolean> {
  return new Promise((resolve) => {
    if (response.destroyed) {
      resolve(false)
      return
    }
    const onClose = (): void => resolve(false)
    response.once('close', onClose)
    response.write(data, (error) => {
      response.off('close', onClose)
      if (!error) onBytes(data.length)
      resolve(!error)
    })
  })
}
