import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ModelServer, openModelServer } from '../../../fixtures/model-server.ts'
import type { Fault } from '../../../fixtures/scenario.ts'
import { fetchFile, fileOf, hashOfFile, OPTIONS, SIZE, scratch, sentBy } from './download-fixture.ts'

let server: ModelServer
let sha256: string

beforeAll(async () => {
  server = await openModelServer()
  sha256 = await server.hashOf('a.bin', SIZE)
})

beforeEach(() => server.clearLog())

afterEach(() => server.clearFaults())

afterAll(() => server.close())

const every = (...kinds: readonly Omit<Fault, 'match'>[]): readonly Fault[] =>
  kinds.map((kind) => ({ match: 'a.bin', ...kind }))

/** Servers that are not wrong, and how many connections bring the file. */
const servers: readonly (readonly [string, readonly Fault[], 'one' | 'several'])[] = [
  ['ranges and a strong ETag', [], 'several'],
  ['the date of the last change alone', every({ kind: 'validator', is: 'date' }), 'several'],
  ['a connection for each answer', every({ kind: 'close' }), 'several'],
  ['no answer to HEAD', every({ kind: 'status', status: 405, method: 'HEAD' }), 'several'],
  ['a wrong size in the answer to HEAD', every({ kind: 'length', by: 99, method: 'HEAD' }), 'several'],
  ['ranges in chunks', every({ kind: 'chunked' }), 'several'],
  ['ranges by HTTP/1.0', every({ kind: 'old' }), 'several'],
  ['no ranges', every({ kind: 'whole' }), 'one'],
  ['no ranges, in chunks', every({ kind: 'whole' }, { kind: 'chunked' }), 'one'],
  ['no ranges, by HTTP/1.0 to the end of the connection', every({ kind: 'whole' }, { kind: 'old' }), 'one'],
  [
    'no ranges, in chunks that HTTP/1.0 does not know',
    every({ kind: 'whole' }, { kind: 'old' }, { kind: 'chunked' }),
    'one',
  ],
]

describe.each([
  ['known size and hash', true, true],
  ['known size', true, false],
  ['known hash', false, true],
  ['nothing known', false, false],
])('a file of %s comes whole from a server with', (_, hasSize, hasHash) => {
  test.each(servers)('%s', async (_name, faults, connections) => {
    await server.setFaults(...faults)
    const partial = join(scratch(), 'a')
    const known = { bytes: hasSize ? SIZE : null, sha256: hasHash ? sha256 : null }
    const { file, error, ...told } = await fetchFile({ partial, sources: [fileOf(server)], ...known })
    expect(error).toBeNull()
    expect(file).toEqual({ bytes: SIZE, sha256, resumed: 0, attempts: 1, host: `127.0.0.1:${server.port}` })
    expect(told).toEqual({ bytes: SIZE, resumed: 0, retries: [] })
    expect(await hashOfFile(partial)).toBe(sha256)
    expect(await sentBy(server)).toBeLessThan(SIZE * 1.02)
    const bodies = (await server.readLog()).filter(({ method, sent }) => method === 'GET' && sent > SIZE / 100)
    const { peak } = await server.readConnections()
    // One that was closed a moment ago may still be counted when the next one comes.
    expect(peak).toBeLessThanOrEqual(OPTIONS.limits.connections + 1)
    if (connections === 'one') expect(bodies).toHaveLength(1)
    else expect(new Set(bodies.map(({ connection }) => connection)).size).toBeGreaterThan(1)
  })
})

test.each(['weak', 'none'] as const)(
  'without a validator to rely on (%s) a known hash is enough for ranges',
  async (is) => {
    await server.setFaults(...every({ kind: 'validator', is }))
    const partial = join(scratch(), 'a')
    const { file } = await fetchFile({ partial, sources: [fileOf(server)], sha256 })
    expect(file).toMatchObject({ sha256, bytes: SIZE })
    expect(await sentBy(server)).toBeLessThan(SIZE * 1.02)
  },
)

test.each(['weak', 'none'] as const)('with neither hash nor validator (%s) the file comes whole', async (is) => {
  await server.setFaults(...every({ kind: 'validator', is }))
  const partial = join(scratch(), 'a')
  const { file } = await fetchFile({ partial, sources: [fileOf(server)] })
  expect(file).toMatchObject({ sha256, bytes: SIZE })
})

test.each([0, 1, 100, 65_536, 1_000_001])('a file of %i bytes', async (size) => {
  const partial = join(scratch(), 'small')
  const hash = await server.hashOf('small.bin', size)
  const source = fileOf(server, 'small.bin', size)
  const known = await fetchFile({ partial, sources: [source], bytes: size, sha256: hash })
  expect([known.error, known.file]).toEqual([null, expect.objectContaining({ bytes: size, sha256: hash })])
  expect(await hashOfFile(partial)).toBe(hash)
  const unknown = await fetchFile({ partial: `${partial}-2`, sources: [source], bytes: null })
  expect([unknown.error, unknown.file]).toEqual([null, expect.objectContaining({ bytes: size, sha256: hash })])
})

test('an address that is good for a few requests is asked for anew', async () => {
  const partial = join(scratch(), 'a')
  const source = `${server.url}/signed/10/models/a.bin?size=${SIZE}`
  await server.setFaults({ match: '/ticket/', kind: 'cut', at: 3_000_000, times: 8 })
  const { file, error, bytes } = await fetchFile({
    partial,
    sources: [source],
    sha256,
    options: { retry: { ...OPTIONS.retry, tries: 12 } },
  })
  expect(error).toBeNull()
  expect(bytes).toBe(SIZE)
  expect(file?.sha256).toBe(sha256)
})

test('what a server compresses although nobody asked for it is not taken for the file', async () => {
  await server.setFaults(...every({ kind: 'gzip' }))
  const partial = join(scratch(), 'a')
  for (const [, { headers }] of (await server.readLog()).entries()) expect(headers['accept-encoding']).toBe('identity')
  const { file, error } = await fetchFile({ partial, sources: [fileOf(server, 'a.bin', 100_000)], bytes: null })
  expect(file).toBeNull()
  expect(error?.code).toMatch(/^CM18(02|05|10)$/)
})
