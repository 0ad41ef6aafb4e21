import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openFetcher } from '../../../../src/host/download/fetcher.ts'
import { type ModelServer, openModelServer } from '../../../fixtures/model-server.ts'
import { fetchFile, fileOf, hashOfFile, leftOf, OPTIONS, SIZE, scratch, sentBy, sourceOf } from './download-fixture.ts'

const TOKEN = 'model-fixture-token'
let mirror: ModelServer
let origin: ModelServer
let sha256: string

beforeAll(async () => {
  ;[mirror, origin] = await Promise.all([openModelServer(), openModelServer()])
  sha256 = await origin.hashOf('a.bin', SIZE)
  await mirror.hashOf('a.bin', SIZE)
})

beforeEach(async () => {
  for (const server of [mirror, origin]) await server.clearLog()
})

afterEach(async () => {
  for (const server of [mirror, origin]) await server.clearFaults()
})

afterAll(async () => {
  for (const server of [mirror, origin]) await server.close()
})

const mirrored = (hash = sha256): string => `${mirror.url}/mirror/blobs/sha256/${hash}`
const both = (): readonly string[] => [mirrored(), fileOf(origin)]
const hostOf = (server: ModelServer): string => `127.0.0.1:${server.port}`

describe('the first source that has the file brings it', () => {
  test('and no other is asked', async () => {
    const partial = join(scratch(), 'a')
    const { file, retries } = await fetchFile({ partial, sources: both(), sha256 })
    expect(file).toMatchObject({ sha256, host: hostOf(mirror) })
    expect(retries).toEqual([])
    expect(await origin.readLog()).toEqual([])
  })

  test('the next one, when a mirror does not have it', async () => {
    const partial = join(scratch(), 'a')
    const { file } = await fetchFile({ partial, sources: [mirrored('0'.repeat(64)), fileOf(origin)], sha256 })
    expect(file).toMatchObject({ sha256, host: hostOf(origin) })
    expect((await mirror.readLog()).filter(({ method }) => method === 'GET')).toHaveLength(1)
  })

  test('the next one, when nobody is there', async () => {
    const partial = join(scratch(), 'a')
    const { file } = await fetchFile({ partial, sources: ['http://127.0.0.1:9/mirror', fileOf(origin)], sha256 })
    expect(file).toMatchObject({ sha256, host: hostOf(origin) })
  })

  test('the next one at once, when another file has just found nobody there', async () => {
    let knocks = 0
    const closed = createServer((socket) => {
      knocks += 1
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    const fetcher = openFetcher({ ...OPTIONS, signal: new AbortController().signal })
    const folder = scratch()
    const fetchOne = async (name: string) => {
      const sources = [`http://127.0.0.1:${port}/mirror`, fileOf(origin)].map((url) => sourceOf(url))
      const request = { name, partial: join(folder, name), sources, bytes: SIZE, mostBytes: SIZE, sha256 }
      const ignore = (): void => undefined
      return fetcher.fetch({ ...request, onBytes: ignore, onResume: ignore, onRetry: ignore })
    }
    expect(await fetchOne('a')).toMatchObject({ attempts: 2, host: hostOf(origin) })
    expect(await fetchOne('b')).toMatchObject({ attempts: 1, host: hostOf(origin) })
    expect(knocks).toBe(1)
    fetcher.close()
    closed.close()
  })

  test.each([
    ['has wrong bytes', [{ match: 'blobs', kind: 'flip', at: SIZE / 2 }]],
    ['sends a page', [{ match: 'blobs', kind: 'page' }]],
    ['is out of order', [{ match: 'blobs', kind: 'status', status: 500 }]],
    ['wants a password', [{ match: 'blobs', kind: 'status', status: 401 }]],
    ['is silent', [{ match: 'blobs', kind: 'hang' }]],
    ['sends nothing but heads', [{ match: 'blobs', kind: 'cut', at: 0 }]],
    [
      'has another size',
      [
        { match: 'blobs', kind: 'whole' },
        { match: 'blobs', kind: 'length', by: 5 },
      ],
    ],
    ['leads in a circle', [{ match: 'blobs', kind: 'redirect', to: '/mirror/blobs/sha256/x' }]],
    [
      'never ends',
      [
        { match: 'blobs', kind: 'whole' },
        { match: 'blobs', kind: 'endless' },
      ],
    ],
  ] as const)('the next one, when a mirror %s', async (_, faults) => {
    await mirror.setFaults(...faults)
    const partial = join(scratch(), 'a')
    const { file, error, retries, bytes, resumed } = await fetchFile({ partial, sources: both(), sha256 })
    expect(error).toBeNull()
    expect(file).toMatchObject({ sha256, host: hostOf(origin) })
    expect(await hashOfFile(partial)).toBe(sha256)
    expect(retries.length).toBeGreaterThan(0)
    expect(bytes + resumed).toBe(SIZE)
  })

  test('what a mirror brought before it went away is kept', async () => {
    const away = { match: 'blobs', kind: 'status', status: 404, after: 5 } as const
    // So slow that nothing much is on its way when it goes.
    await mirror.setFaults(away, { match: 'blobs', kind: 'rate', rate: SIZE })
    const partial = join(scratch(), 'a')
    const { file } = await fetchFile({ partial, sources: both(), sha256 })
    expect(file?.sha256).toBe(sha256)
    const [fromMirror, fromOrigin] = [await sentBy(mirror), await sentBy(origin)]
    expect(fromOrigin).toBeGreaterThan(0)
    expect(fromMirror + fromOrigin).toBeLessThan(SIZE * 1.05)
  })

  test('when all fail, the last failure is told, and what the source answered', async () => {
    await origin.setFaults({ match: 'a.bin', kind: 'status', status: 404 })
    await mirror.setFaults({ match: 'blobs', kind: 'status', status: 404 })
    const { error } = await fetchFile({ partial: join(scratch(), 'a'), sources: both(), sha256 })
    expect(error?.code).toBe('CM1802')
    expect(error?.message).toContain(hostOf(origin))
  })

  test('wrong bytes everywhere leave nothing', async () => {
    await origin.setFaults({ match: 'a.bin', kind: 'flip', at: 5 })
    await mirror.setFaults({ match: 'blobs', kind: 'flip', at: 7 })
    const partial = join(scratch(), 'a')
    const { error } = await fetchFile({ partial, sources: both(), sha256 })
    expect(error?.code).toBe('CM1804')
    expect(leftOf(partial)).toEqual({ partial: false, map: false })
  })
})

describe('a token', () => {
  const authorized = async (server: ModelServer) =>
    (await server.readLog()).map(({ address, headers }) => [address, headers['authorization']] as const)

  test('is sent to its own host with each request', async () => {
    const url = `${origin.url}/private/a.bin?size=${SIZE}`
    const { file } = await fetchFile({ partial: join(scratch(), 'a'), sources: [sourceOf(url, TOKEN)], sha256 })
    expect(file?.sha256).toBe(sha256)
    for (const [, sent] of await authorized(origin)) expect(sent).toBe(`Bearer ${TOKEN}`)
  })

  test('does not follow to another host', async () => {
    for (const path of ['redirect', 'signed/99']) {
      await origin.clearLog()
      const url = `${origin.url}/${path}/models/a.bin?size=${SIZE}`
      const { file } = await fetchFile({ partial: join(scratch(), 'a'), sources: [sourceOf(url, TOKEN)], sha256 })
      expect(file?.sha256).toBe(sha256)
      const requests = await authorized(origin)
      expect(new Set(requests.map(([address]) => address))).toEqual(new Set(['127.0.0.1', '127.0.0.2']))
      for (const [address, sent] of requests) {
        expect(sent, address).toBe(address === '127.0.0.1' ? `Bearer ${TOKEN}` : undefined)
      }
    }
  })

  test('does not follow to another port, nor back from there', async () => {
    await origin.setFaults({ match: '^/models/away', kind: 'redirect', to: `${mirror.url}/models/back?size=${SIZE}` })
    await mirror.setFaults({ match: '^/models/back', kind: 'redirect', to: `${origin.url}/models/a.bin?size=${SIZE}` })
    const source = sourceOf(`${origin.url}/models/away`, TOKEN)
    const { file } = await fetchFile({ partial: join(scratch(), 'a'), sources: [source], sha256 })
    expect(file?.sha256).toBe(sha256)
    for (const [, sent] of await authorized(mirror)) expect(sent).toBeUndefined()
  })

  test('of one source is not sent to another', async () => {
    const sources = [mirrored('0'.repeat(64)), sourceOf(`${origin.url}/private/a.bin?size=${SIZE}`, TOKEN)]
    const { file } = await fetchFile({ partial: join(scratch(), 'a'), sources, sha256 })
    expect(file?.sha256).toBe(sha256)
    for (const [, sent] of await authorized(mirror)) expect(sent).toBeUndefined()
  })

  test('stands in no message', async () => {
    const url = `${origin.url}/private/a.bin?size=${SIZE}`
    const secret = 'hf_secret_of_the_operator'
    const { error } = await fetchFile({ partial: join(scratch(), 'a'), sources: [sourceOf(url, secret)] })
    expect(error?.code).toBe('CM1803')
    expect(JSON.stringify([error?.message, error?.hint, error?.stack, String(error?.cause)])).not.toContain(secret)
  })
})

describe('the size', () => {
  const sizeOf = async (...urls: readonly string[]): Promise<number | null> => {
    const fetcher = openFetcher({ ...OPTIONS, signal: new AbortController().signal })
    try {
      return await fetcher.sizeOf(urls.map((url) => sourceOf(url, TOKEN)))
    } finally {
      fetcher.close()
    }
  }

  test('is told by the first source that answers, without its bytes', async () => {
    expect(await sizeOf(mirrored('0'.repeat(64)), 'http://127.0.0.1:9/', fileOf(origin))).toBe(SIZE)
    expect(await sizeOf(`${origin.url}/redirect/models/a.bin?size=77`)).toBe(77)
    expect(await sizeOf(`${origin.url}/private/a.bin?size=78`)).toBe(78)
    expect(await sentBy(origin)).toBe(0)
    for (const { address, headers } of await origin.readLog()) {
      if (address !== '127.0.0.1') expect(headers['authorization']).toBeUndefined()
    }
  })

  test('is unknown where none tells', async () => {
    await origin.setFaults({ match: 'a.bin', kind: 'status', status: 405, method: 'HEAD' })
    expect([null, SIZE]).toContain(await sizeOf(fileOf(origin)))
    await origin.setFaults({ match: 'a.bin', kind: 'hang' })
    expect(await sizeOf(fileOf(origin))).toBeNull()
    await origin.clearFaults()
    await origin.setFaults({ match: 'a.bin', kind: 'chunked' })
    expect(await sizeOf(fileOf(origin))).toBeNull()
    await origin.clearFaults()
    await origin.setFaults({ match: 'a.bin', kind: 'page' })
    expect(await sizeOf(fileOf(origin))).toBeNull()
  })
})
