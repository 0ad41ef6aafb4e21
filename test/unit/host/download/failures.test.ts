import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ModelServer, openModelServer } from '../../../fixtures/model-server.ts'
import type { Fault } from '../../../fixtures/scenario.ts'
import {
  fetchFile,
  fileOf,
  hashOfFile,
  leftOf,
  MIB,
  OPTIONS,
  SIZE,
  scratch,
  sentBy,
  type Wanted,
} from './download-fixture.ts'

const NOTHING = { partial: false, map: false }
let server: ModelServer
let sha256: string

beforeAll(async () => {
  server = await openModelServer()
  sha256 = await server.hashOf('a.bin', SIZE)
})

beforeEach(() => server.clearLog())

afterEach(() => server.clearFaults())

afterAll(() => server.close())

const asked = async (): Promise<number> => (await server.readLog()).filter(({ method }) => method === 'GET').length

/** Fetches from a server with these faults. */
async function fetchBent(faults: readonly Omit<Fault, 'match'>[], wanted: Wanted = {}) {
  await server.setFaults(...faults.map((fault) => ({ match: 'a.bin', ...fault })))
  const partial = join(scratch(), 'a')
  return { ...(await fetchFile({ partial, sources: [fileOf(server)], ...wanted })), left: leftOf(partial), partial }
}

describe('an answer that does not pass', () => {
  test.each([400, 404, 410, 451])('%i is told at once', async (status) => {
    const { error, retries } = await fetchBent([{ kind: 'status', status }])
    expect(error).toMatchObject({ code: 'CM1802', type: 'http_error' })
    expect(error?.message).toMatch(new RegExp(`127\\.0\\.0\\.1.*${status}`))
    expect(retries).toEqual([])
    expect(await asked()).toBe(1)
  })

  test.each([401, 403])('%i names the model and the variable', async (status) => {
    const url = fileOf(server)
    for (const token of [null, 'not-the-token']) {
      const sources = [{ url, token, tokenVariable: 'SOME_TOKEN' }]
      const { error, retries } = await fetchBent([{ kind: 'status', status }], { sources })
      expect(error).toMatchObject({ code: 'CM1803', type: 'auth_failed' })
      expect(`${error?.message} ${error?.hint}`).toMatch(/a\.bin[\s\S]*SOME_TOKEN|SOME_TOKEN[\s\S]*a\.bin/)
      expect(`${error?.message} ${error?.hint}`).not.toContain('not-the-token')
      expect(retries).toEqual([])
    }
  })

  test.each([500, 502, 503, 429, 408])('%i is tried again, and then goes on', async (status) => {
    const { error, file, retries } = await fetchBent([{ kind: 'status', status, times: 2 }], { sha256 })
    expect(error).toBeNull()
    expect(file?.sha256).toBe(sha256)
    expect(retries.length).toBeGreaterThan(0)
    for (const { code } of retries) expect(code).toBe('CM1802')
  })

  test.each([500, 503, 429])('%i for ever is told after the tries', async (status) => {
    const { error, retries } = await fetchBent([{ kind: 'status', status }])
    expect(error).toMatchObject({ code: 'CM1802' })
    expect(error?.message).toContain(String(status))
    expect(retries).toEqual([
      { code: 'CM1802', attempt: 1 },
      { code: 'CM1802', attempt: 2 },
    ])
    expect(await asked()).toBeLessThanOrEqual(3 * OPTIONS.limits.connections)
  })

  test('Retry-After is waited for', async () => {
    const { error } = await fetchBent([{ kind: 'status', status: 503, retry_after: 1, times: 1 }])
    expect(error).toBeNull()
    const [first, second] = await server.readLog()
    expect((second?.at ?? 0) - (first?.at ?? 0)).toBeGreaterThan(0.95)
  })

  test('in the middle of a file is no reason to begin anew', async () => {
    const { error, file } = await fetchBent([{ kind: 'status', status: 503, after: 3, times: 2 }], { sha256 })
    expect(error).toBeNull()
    expect(file?.sha256).toBe(sha256)
    expect(await sentBy(server)).toBeLessThan(SIZE * 1.02)
  })

  test.each([
    [{ kind: 'page' }],
    [{ kind: 'page', content_type: 'application/octet-stream' }],
    [{ kind: 'page', content_type: 'TEXT/HTML' }],
    [{ kind: 'page' }, { kind: 'chunked' }],
  ] as const)('a page instead of a model: %o %o', async (...faults) => {
    for (const bytes of [SIZE, null]) {
      for (const hash of [sha256, null]) {
        const { error, retries, left } = await fetchBent(faults.filter(Boolean), { bytes, sha256: hash })
        expect(error).toMatchObject({ code: 'CM1808', type: 'http_error' })
        expect(retries).toEqual([])
        expect(left.partial).toBe(false)
      }
    }
  })
})

describe('a size that does not fit', () => {
  test.each([SIZE + 1, SIZE - 1, 100])('%i declared', async (bytes) => {
    const { error, left, retries } = await fetchBent([], { bytes, sha256 })
    expect(error).toMatchObject({ code: 'CM1810', type: 'checksum_mismatch' })
    expect(error?.message).toContain(String(bytes))
    expect(error?.message).toContain(String(SIZE))
    expect(retries).toEqual([])
    expect(left).toEqual(NOTHING)
  })

  test('without ranges, too', async () => {
    expect((await fetchBent([{ kind: 'whole' }], { bytes: SIZE + 1 })).error?.code).toBe('CM1810')
    const chunked = await fetchBent([{ kind: 'whole' }, { kind: 'chunked' }], { bytes: SIZE - 1 })
    expect(chunked.error?.code).toBe('CM1810')
    expect(chunked.left).toEqual(NOTHING)
  })

  test('a body that ends before it should', async () => {
    for (const faults of [[{ kind: 'length', by: 99 }] as const, [{ kind: 'cut', at: 0 }] as const]) {
      const { error, retries } = await fetchBent([{ kind: 'whole' }, ...faults], { bytes: null })
      expect(error).toMatchObject({ code: 'CM1805', type: 'download_incomplete' })
      expect(retries.length).toBeGreaterThan(0)
      await server.clearFaults()
    }
  })

  test('a body with more than its Content-Length is never taken for whole', async () => {
    const { error, file } = await fetchBent([{ kind: 'whole' }, { kind: 'length', by: -99 }], { bytes: null, sha256 })
    expect(file).toBeNull()
    expect(error?.code).toMatch(/^CM18(01|04|05)$/)
  })

  test.each([SIZE, null])('a body that never ends is cut off (%s bytes declared)', async (bytes) => {
    const mostBytes = SIZE + 8 * MIB
    const faults = [{ kind: 'whole' }, { kind: 'endless' }] as const
    const { error, left } = await fetchBent(faults, { bytes, mostBytes })
    expect(error?.code).toBe(bytes === null ? 'CM1806' : 'CM1810')
    expect(left).toEqual(NOTHING)
    expect(await sentBy(server)).toBeLessThan(OPTIONS.retry.tries * (mostBytes + 16 * MIB))
  })

  test('ranges that never end are cut off', async () => {
    const { file, error } = await fetchBent([{ kind: 'endless' }], { sha256 })
    if (file === null) expect(error?.code).toMatch(/^CM18(05|10)$/)
    else expect(file.sha256).toBe(sha256)
    expect(await sentBy(server)).toBeLessThan(OPTIONS.retry.tries * 4 * SIZE)
  })

  test('the largest size is kept where none is known', async () => {
    const { error } = await fetchBent([], { bytes: null, mostBytes: SIZE - 1 })
    expect(error?.code).toBe('CM1806')
    expect(await sentBy(server)).toBeLessThan(SIZE)
  })
})

describe('wrong bytes', () => {
  test('leave no part behind', async () => {
    const { error, left, retries } = await fetchBent([{ kind: 'flip', at: SIZE / 2 }], { sha256 })
    expect(error).toMatchObject({ code: 'CM1804', type: 'checksum_mismatch' })
    expect(error?.message).toContain(sha256)
    expect(retries).toEqual([])
    expect(left).toEqual(NOTHING)
  })

  test('ranges that begin elsewhere are not written', async () => {
    const { error, file } = await fetchBent([{ kind: 'misplaced', by: 7 }])
    if (file === null) expect(error?.code).toMatch(/^CM18(02|05)$/)
    else expect(file.sha256).toBe(sha256)
  })

  test('one range that begins elsewhere is asked for again', async () => {
    const { error, file } = await fetchBent([{ kind: 'misplaced', by: 7, after: 2, times: 1 }])
    expect(error).toBeNull()
    expect(file?.sha256).toBe(sha256)
  })

  test.each([[null], [1]])('416 (%s times)', async (times) => {
    const fault = { kind: 'status', status: 416, ...(times === null ? {} : { times }) } as const
    const { error, file } = await fetchBent([fault], { sha256 })
    if (times === null) expect(error?.code).toBe('CM1811')
    else expect(file?.sha256).toBe(sha256)
  })
})

describe('a file that changes while it is fetched', () => {
  test.each([
    ['by ETag', []],
    ['by date', [{ kind: 'validator', is: 'date' } as const]],
  ])('is never a mix of two, %s', async (_, faults) => {
    const { file, error, partial } = await fetchBent([...faults, { kind: 'version', version: 2, after: 3 }])
    const second = await server.hashOf('a.bin', SIZE, 2)
    if (file === null) expect(error).toMatchObject({ code: 'CM1811', type: 'download_incomplete' })
    else expect([file.sha256, await hashOfFile(partial)]).toEqual([second, second])
  })

  test('again and again is told', async () => {
    const { error, file, left } = await fetchBent([{ kind: 'validator', is: 'new' }])
    if (file !== null) expect(file.sha256).toBe(sha256)
    else expect(error).toMatchObject({ code: 'CM1811', type: 'download_incomplete' })
    if (file === null) expect(left).toEqual(NOTHING)
  })
})

describe('a server that is silent', () => {
  test('from the first byte on', async () => {
    const { error, retries } = await fetchBent([{ kind: 'hang' }])
    expect(error?.code).toMatch(/^CM18(01|05)$/)
    expect(error?.type).toMatch(/^(network_timeout|download_incomplete)$/)
    expect(retries).toHaveLength(2)
  })

  test('in the middle of one range is cut, and the rest of the range asked for elsewhere', async () => {
    const { error, file } = await fetchBent([{ kind: 'hang', at: 300_000, after: 1, times: 1 }], { sha256 })
    expect(error).toBeNull()
    expect(file?.sha256).toBe(sha256)
    expect(await sentBy(server)).toBeLessThan(SIZE * 1.02)
  })

  test('in the middle of each range gets on as far as it comes, and fails in the end', async () => {
    const { error, file, retries } = await fetchBent([{ kind: 'hang', at: 0, after: 1 }], { sha256 })
    expect(file).toBeNull()
    expect(error?.code).toMatch(/^CM18(01|05)$/)
    expect(retries.length).toBeGreaterThan(0)
  })

  test('but for a byte now and then is slow, not silent', async () => {
    const source = fileOf(server, 'a.bin', 12)
    await server.setFaults({ match: 'a.bin', kind: 'dribble', delay_ms: 150 })
    const partial = join(scratch(), 'a')
    const { error, file } = await fetchFile({ partial, sources: [source], bytes: 12 })
    expect(error).toBeNull()
    expect(file?.bytes).toBe(12)
    expect(readFileSync(partial)).toHaveLength(12)
  })
})

describe('no way to the server', () => {
  test('nobody listens', async () => {
    const { error, retries } = await fetchBent([], { sources: ['http://127.0.0.1:9/a.bin'] })
    expect(error).toMatchObject({ code: 'CM1801', type: 'network_unreachable' })
    expect(retries).toHaveLength(2)
  })

  test('the name is not known', async () => {
    const { error } = await fetchBent([], { sources: ['http://nobody.invalid/a.bin'] })
    expect(error).toMatchObject({ code: 'CM1801', type: 'dns_failure' })
  })

  test('redirected in a circle', async () => {
    const { error } = await fetchBent([{ kind: 'redirect', to: fileOf(server) }])
    expect(error?.code).toMatch(/^CM180[12]$/)
    expect(await asked()).toBeLessThanOrEqual(3 * 21)
  })

  test('redirected to nowhere, and to what is no address', async () => {
    for (const to of ['http://127.0.0.1:9/a.bin', 'file:///etc/passwd', 'http://', '']) {
      const { error } = await fetchBent([{ kind: 'redirect', to }])
      expect(error?.code, to).toMatch(/^CM180[12]$/)
    }
  })

  test('nothing secret of an address is told', async () => {
    const url = `${server.url.replace('//', '//user:pass-word@')}/models/a.bin?size=${SIZE}&signature=very-secret`
    for (const fault of [{ kind: 'status', status: 404 }, { kind: 'cut', at: 0 }, { kind: 'page' }] as const) {
      const { error } = await fetchBent([fault], { sources: [url] })
      expect(`${error?.message} ${error?.hint}`).not.toMatch(/pass-word|very-secret/)
      await server.clearFaults()
    }
  })
})
