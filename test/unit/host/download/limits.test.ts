import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { MachineError } from '../../../../src/errors.ts'
import { openFetcher } from '../../../../src/host/download/fetcher.ts'
import type { Fetcher } from '../../../../src/host/model-ports.ts'
import { type ModelServer, openModelServer } from '../../../fixtures/model-server.ts'
import { fetchFile, fileOf, hashOfFile, MIB, OPTIONS, SIZE, scratch, sentBy, sourceOf } from './download-fixture.ts'

let server: ModelServer

beforeAll(async () => {
  server = await openModelServer()
})

beforeEach(() => server.clearLog())

afterEach(() => server.clearFaults())

afterAll(() => server.close())

type Limits = { readonly connections: number; readonly connectionsPerHost: number; readonly rateLimit: number | null }

/** Fetches files of these sizes at once with one fetcher; their failures are results. */
async function fetchMany(urls: readonly (readonly [string, number])[], limits: Limits) {
  const fetcher: Fetcher = openFetcher({ ...OPTIONS, signal: new AbortController().signal, limits })
  const folder = scratch()
  try {
    return await Promise.all(
      urls.map(async ([url, bytes], index) => {
        const partial = join(folder, `${index}`)
        const request = {
          name: `model-${index}`,
          partial,
          sources: [sourceOf(url)],
          bytes,
          mostBytes: bytes,
          sha256: null,
        }
        const ignore = (): void => undefined
        return fetcher.fetch({ ...request, onBytes: ignore, onResume: ignore, onRetry: ignore }).then(
          (file) => ({ file, partial }),
          (error: unknown) => ({ error, partial }),
        )
      }),
    )
  } finally {
    fetcher.close()
  }
}

describe('connections', () => {
  const names = Array.from({ length: 6 }, (_, index) => `m${index}.bin`)
  const urls = names.map((name) => [fileOf(server ?? { url: '' }, name, 24 * MIB), 24 * MIB] as const)

  test.each([
    [{ connections: 1, connectionsPerHost: 8, rateLimit: null }, 1],
    [{ connections: 3, connectionsPerHost: 8, rateLimit: null }, 3],
    [{ connections: 8, connectionsPerHost: 2, rateLimit: null }, 2],
  ])('are never more than %o', async (limits, most) => {
    const here = names.map((name) => [fileOf(server, name, 24 * MIB), 24 * MIB] as const)
    expect(here).toHaveLength(urls.length)
    const results = await fetchMany(here, limits)
    for (const result of results) expect(result).toMatchObject({ file: { bytes: 24 * MIB } })
    expect((await server.readConnections()).peak).toBeLessThanOrEqual(most)
  })

  test('to two hosts are as many as both may have together', async () => {
    const both = names.map((name, index) => {
      const host = index % 2 === 0 ? '127.0.0.1' : '127.0.0.2'
      return [`http://${host}:${server.port}/models/${name}?size=${24 * MIB}`, 24 * MIB] as const
    })
    await server.setFaults({ match: '/models/', kind: 'rate', rate: 96 * MIB })
    const results = await fetchMany(both, { connections: 6, connectionsPerHost: 3, rateLimit: null })
    for (const result of results) expect(result).toMatchObject({ file: { bytes: 24 * MIB } })
    const { peak } = await server.readConnections()
    expect(peak).toBeLessThanOrEqual(6)
    expect(peak).toBeGreaterThan(3)
  })

  test('are used again', async () => {
    const here = Array.from({ length: 32 }, (_, index) => [fileOf(server, `s${index}.bin`, 9_000), 9_000] as const)
    await fetchMany(here, { connections: 4, connectionsPerHost: 4, rateLimit: null })
    expect((await server.readConnections()).made).toBeLessThanOrEqual(8)
  })
})

test('32 files at once, of which some fail, are each what they should be', async () => {
  const sizes = Array.from({ length: 32 }, (_, index) => (index % 4 === 0 ? 12 * MIB : 100_000 + index))
  const urls = sizes.map((size, index) => [fileOf(server, `f${index}.bin`, size), size] as const)
  await server.setFaults(
    { match: '/f3.bin', kind: 'status', status: 404 },
    { match: '/f7.bin', kind: 'page' },
    { match: '/f8.bin', kind: 'hang', at: 1_000_000, times: 1 },
    { match: '/f12.bin', kind: 'whole' },
  )
  const results = await fetchMany(urls, { connections: 8, connectionsPerHost: 8, rateLimit: null })
  const failed = results.map((result) => ('error' in result ? (result.error as MachineError).code : null))
  expect(failed).toEqual(sizes.map((_, index) => (index === 3 ? 'CM1802' : index === 7 ? 'CM1808' : null)))
  for (const [index, size] of sizes.entries()) {
    const result = results[index]
    if (result === undefined || !('file' in result)) continue
    const hash = await server.hashOf(`f${index}.bin`, size)
    expect([result.file.sha256, await hashOfFile(result.partial)], `f${index}`).toEqual([hash, hash])
  }
  // One that was closed because of what it answered may still be counted when the next one comes.
  expect((await server.readConnections()).peak).toBeLessThanOrEqual(9)
})

test('a file that is slow to come does not keep the others waiting', async () => {
  await server.setFaults({ match: '/slow.bin', kind: 'rate', rate: 100_000 })
  const stop = new AbortController()
  const fetcher = openFetcher({ ...OPTIONS, signal: stop.signal })
  const ignore = (): void => undefined
  const folder = scratch()
  const fetchOne = (name: string, bytes: number) =>
    fetcher.fetch({
      ...{
        name,
        partial: join(folder, name),
        sources: [sourceOf(fileOf(server, name, bytes))],
        bytes,
        mostBytes: bytes,
      },
      ...{ sha256: null, onBytes: ignore, onResume: ignore, onRetry: ignore },
    })
  const slow = fetchOne('slow.bin', SIZE).then(
    () => 'done',
    () => 'stopped',
  )
  const quick = await Promise.all(Array.from({ length: 8 }, (_, index) => fetchOne(`q${index}.bin`, MIB)))
  expect(quick).toHaveLength(8)
  stop.abort()
  expect(await slow).toBe('stopped')
  fetcher.close()
})

describe('the rate', () => {
  test.each([8, 16])('is about what is allowed: %i MiB/s', async (mibPerSecond) => {
    const rateLimit = mibPerSecond * MIB
    const size = rateLimit * 2
    const begunMs = performance.now()
    const { file } = await fetchFile({
      partial: join(scratch(), 'a'),
      sources: [fileOf(server, 'r.bin', size)],
      bytes: size,
      options: { limits: { ...OPTIONS.limits, rateLimit } },
    })
    const seconds = (performance.now() - begunMs) / 1000
    expect(file?.bytes).toBe(size)
    // Twice as fast would be no limit, twice as slow a bad one on a machine that is not busy.
    expect(seconds).toBeGreaterThan(1.4)
    expect(seconds).toBeLessThan(8)
  })

  test('is for all files together', async () => {
    const size = 8 * MIB
    const urls = Array.from({ length: 4 }, (_, index) => [fileOf(server, `r${index}.bin`, size), size] as const)
    const begunMs = performance.now()
    const results = await fetchMany(urls, { ...OPTIONS.limits, rateLimit: 16 * MIB })
    for (const result of results) expect(result).toMatchObject({ file: { bytes: size } })
    expect(performance.now() - begunMs).toBeGreaterThan(1_400)
  })

  test('that is low is no stall', async () => {
    const size = 300_000
    const { file, retries } = await fetchFile({
      partial: join(scratch(), 'a'),
      sources: [fileOf(server, 'r.bin', size)],
      bytes: size,
      options: { limits: { ...OPTIONS.limits, rateLimit: 100_000 }, times: { ...OPTIONS.times, stallMs: 300 } },
    })
    expect(file?.bytes).toBe(size)
    expect(retries).toEqual([])
  })
})

test('a fetch that is stopped ends at once and keeps what has arrived', async () => {
  await server.setFaults({ match: 'a.bin', kind: 'hang', at: 500_000 })
  const options = { times: { ...OPTIONS.times, stallMs: 60_000 } }
  const partial = join(scratch(), 'a')
  const begunMs = performance.now()
  const { file, error } = await fetchFile({ partial, sources: [fileOf(server)], stopAt: 400_000, options })
  expect([file, error]).toEqual([null, null])
  expect(performance.now() - begunMs).toBeLessThan(10_000)
  expect(await sentBy(server)).toBeGreaterThan(0)
})
