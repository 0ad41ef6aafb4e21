import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readlinkSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type BlobServer, type BlobServerOptions, serveBlobs } from '../../../src/host/blob-server.ts'
import { fetchFile, hashOfFile, MIB, makeScratch, SIZE, scratch } from './download/download-fixture.ts'
import { freePort } from './free-port.ts'

const blobs = makeScratch()
const addBlob = (content: Uint8Array): string => {
  const sha256 = createHash('sha256').update(content).digest('hex')
  writeFileSync(join(blobs, sha256), content)
  return sha256
}
const SMALL = randomBytes(1000)
const small = addBlob(SMALL)
const large = addBlob(randomBytes(SIZE))

interface Served extends BlobServer {
  readonly port: number
  readonly failures: readonly unknown[]
  urlOf(sha256: string): string
}

async function serve(options: Partial<BlobServerOptions> = {}): Promise<Served> {
  const failures: unknown[] = []
  const port = await freePort()
  const where = { host: '127.0.0.1', port }
  const failed = (error: unknown): void => void failures.push(error)
  const server = await serveBlobs({ blobs, where, idleMs: 60_000, failed, ...options })
  onTestFinished(() => server.close())
  return { ...server, port, failures, urlOf: (sha256) => `http://127.0.0.1:${port}/blobs/sha256/${sha256}` }
}

interface Answer {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

async function begin({ port }: Served, path: string, headers = {}, method = 'GET'): Promise<IncomingMessage> {
  const asked = request({ host: '127.0.0.1', port, path, headers, method, agent: false }).end()
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  return response
}

async function ask(server: Served, path: string, headers = {}, method = 'GET'): Promise<Answer> {
  const response = await begin(server, path, headers, method)
  return { status: response.statusCode, headers: response.headers, body: await buffer(response) }
}

async function connectTo({ port }: Served): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

const pathOf = (sha256: string): string => `/blobs/sha256/${sha256}`

/** Descriptors of this process that are open on files of the store. */
function openBlobs(): readonly string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(blobs) ? [target] : []
    } catch {
      // The one that lists them is closed by now.
      return []
    }
  })
}

describe('a content', () => {
  test('is given as it is, whole or a range of it, on a connection that is kept', async () => {
    const server = await serve()
    const whole = await ask(server, pathOf(small))
    expect(whole).toMatchObject({ status: 200, headers: { 'content-length': '1000', etag: `"${small}"` } })
    expect(whole.body).toEqual(SMALL)
    const part = await ask(server, pathOf(small), { range: 'bytes=990-' })
    expect(part).toMatchObject({ status: 206, headers: { 'content-range': 'bytes 990-999/1000' } })
    expect(part.body).toEqual(SMALL.subarray(990))
    expect(await ask(server, pathOf(small), { range: 'bytes=1000-' })).toMatchObject({
      status: 416,
      headers: { 'content-range': 'bytes */1000' },
    })
    expect(server.counts()).toMatchObject({ requests: 2, bytes: 1010 })
  })

  test('is given whole to a client that has begun with another one', async () => {
    const server = await serve()
    const range = 'bytes=5-'
    expect((await ask(server, pathOf(small), { range, 'if-range': `"${small}"` })).body).toHaveLength(995)
    expect(await ask(server, pathOf(small), { range, 'if-range': `"${large}"` })).toMatchObject({
      status: 200,
      body: SMALL,
    })
  })

  test('tells a HEAD its size, and sends nothing', async () => {
    const server = await serve()
    expect(await ask(server, pathOf(large), {}, 'HEAD')).toMatchObject({
      status: 200,
      headers: { 'content-length': String(SIZE), 'accept-ranges': 'bytes' },
      body: Buffer.alloc(0),
    })
    expect(server.counts().bytes).toBe(0)
  })

  test('may be empty', async () => {
    const server = await serve()
    const empty = addBlob(Buffer.alloc(0))
    expect(await ask(server, pathOf(empty))).toMatchObject({ status: 200, headers: { 'content-length': '0' } })
  })

  test('comes in order where several are asked for at once on one connection', async () => {
    const server = await serve()
    const socket = await connectTo(server)
    const ranges = ['0-99', '100-499', '500-999']
    const [last] = ranges.slice(-1)
    for (const range of ranges) {
      const kept = range === last ? 'close' : 'keep-alive'
      socket.write(`GET ${pathOf(small)} HTTP/1.1\r\nHost: x\r\nRange: bytes=${range}\r\nConnection: ${kept}\r\n\r\n`)
    }
    const answers = (await buffer(socket)).toString('latin1').split(/HTTP\/1\.1 206 [\s\S]*?\r\n\r\n/)
    expect(answers.join('')).toBe(SMALL.toString('latin1'))
    expect(answers).toHaveLength(4)
  })
})

describe('nothing else is given', () => {
  test('no link, no folder, no pipe, nothing beside the contents', async () => {
    const server = await serve()
    const nameOf = (digit: string): string => digit.repeat(64)
    symlinkSync(join(blobs, small), join(blobs, nameOf('1')))
    symlinkSync('/etc/passwd', join(blobs, nameOf('2')))
    mkdirSync(join(blobs, nameOf('3')))
    execFileSync('mkfifo', [join(blobs, nameOf('4'))])
    writeFileSync(join(blobs, 'index.json'), 'secret')
    const names = ['1', '2', '3', '4', '5'].map((digit) => pathOf(nameOf(digit)))
    const ways = ['/', '/blobs/sha256/', '/blobs/sha256/index.json', `/blobs/sha256/../sha256/${small}`]
    const hidden = [`/blobs/sha256/../../../../etc/passwd`, `/blobs/sha256/%2e%2e/sha256/${small}`]
    for (const path of [...names, ...ways, ...hidden]) {
      const { status, body } = await ask(server, path)
      expect([path, status, body.length]).toEqual([path, 404, 0])
    }
    expect(server.failures).toEqual([])
    expect(openBlobs()).toEqual([])
  })

  test('to another method', async () => {
    const server = await serve()
    expect(await ask(server, pathOf(small), {}, 'DELETE')).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    })
  })
})

describe('a content that cannot be read', () => {
  test('is an error of the server, which is told of', async () => {
    const server = await serve({ blobs: `/${'x'.repeat(300)}` })
    expect((await ask(server, pathOf(small))).status).toBe(500)
    expect(server.failures).toMatchObject([{ code: 'ENAMETOOLONG' }])
  })

  test('to its end is never a shorter answer', async () => {
    const server = await serve()
    const shrinking = addBlob(randomBytes(32 * MIB))
    const response = await begin(server, pathOf(shrinking))
    response.pause()
    truncateSync(join(blobs, shrinking), MIB)
    await expect(buffer(response)).rejects.toMatchObject({ code: 'ECONNRESET' })
    await expect.poll(() => server.failures).toHaveLength(1)
    expect(openBlobs()).toEqual([])
  })
})

describe('the fetcher', () => {
  // Plain http: is what neighbours speak, and nobody has to allow it: the hash decides.
  const options = { allowInsecure: false }

  test('takes a model from it over eight connections', async () => {
    const server = await serve()
    const partial = join(scratch(), 'a')
    let most = 0
    const onBytes = (): void => {
      most = Math.max(most, server.counts().connections)
    }
    const { file, error, retries } = await fetchFile({
      ...{ partial, sources: [server.urlOf(large)], sha256: large, onBytes, options },
    })
    expect([error, retries]).toEqual([null, []])
    expect(file).toMatchObject({ sha256: large, bytes: SIZE })
    expect(await hashOfFile(partial)).toBe(large)
    expect(most).toBe(8)
    expect(server.counts().bytes).toBe(SIZE)
  })

  test('goes on at the next source when it goes away, and keeps what it has', async () => {
    const [first, second] = [await serve(), await serve()]
    const partial = join(scratch(), 'a')
    let arrived = 0
    const onBytes = (count: number): void => {
      arrived += count
      if (arrived > SIZE / 4) void first.close()
    }
    const { file, error, retries } = await fetchFile({
      ...{ partial, sources: [first.urlOf(large), second.urlOf(large)], sha256: large, onBytes, options },
    })
    expect(error).toBeNull()
    expect(file).toMatchObject({ sha256: large, host: `127.0.0.1:${second.port}` })
    expect(await hashOfFile(partial)).toBe(large)
    expect(retries.length).toBeGreaterThan(0)
    expect(second.counts().bytes).toBeGreaterThan(0)
    expect(second.counts().bytes).toBeLessThan(SIZE)
  })

  test('is told to come again when there are too many, and brings it with the connections it gets', async () => {
    const server = await serve({ connections: 2 })
    const partial = join(scratch(), 'a')
    const retry = { tries: 10, baseMs: 10, maxMs: 40 }
    const { file, error } = await fetchFile({
      ...{ partial, sources: [server.urlOf(large)], sha256: large, options: { ...options, retry } },
    })
    expect(error).toBeNull()
    expect(file).toMatchObject({ sha256: large })
  })
})

describe('clients', () => {
  test('that take nothing are dropped', async () => {
    const server = await serve({ stallMs: 100 })
    const socket = await connectTo(server)
    socket.pause()
    socket.write(`GET ${pathOf(large)} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await expect.poll(() => server.counts()).toMatchObject({ connections: 0, requests: 1 })
    await expect.poll(openBlobs).toEqual([])
    expect(server.failures).toEqual([])
  })

  test('that go away leave nothing open, however much they had asked for', async () => {
    const server = await serve()
    const socket = await connectTo(server)
    socket.write(`GET ${pathOf(large)} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(4))
    await once(socket, 'data')
    await expect.poll(() => server.counts().requests).toBeGreaterThan(1)
    socket.destroy()
    await expect.poll(openBlobs).toEqual([])
    expect(server.counts().connections).toBe(0)
    expect(server.failures).toEqual([])
  })

  test('beyond the limit are told when to come again', async () => {
    const server = await serve({ connections: 2 })
    const [one] = [await connectTo(server), await connectTo(server)]
    await expect.poll(() => server.counts().connections).toBe(2)
    expect(await ask(server, pathOf(small))).toMatchObject({
      status: 503,
      headers: { 'retry-after': '2', connection: 'close' },
    })
    one.destroy()
    await expect.poll(() => server.counts().connections).toBe(1)
    expect((await ask(server, pathOf(small))).status).toBe(200)
  })
})

describe('a server that nobody asks', () => {
  test('ends', async () => {
    const server = await serve({ idleMs: 20 })
    await server.idle
    await expect(connectTo(server)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('does not end while somebody is connected', async () => {
    const server = await serve({ idleMs: 200 })
    const socket = await connectTo(server)
    await expect.poll(() => server.counts().connections).toBe(1)
    expect(await Promise.race([server.idle, setTimeout(400, 'goes on')])).toBe('goes on')
    socket.destroy()
    await server.idle
  })
})
