import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ModelServer, openModelServer } from '../../../fixtures/model-server.ts'
import { randomOf, SEED } from '../../../host/random.ts'
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
  sourceOf,
} from './download-fixture.ts'
import type { ProgramInput, ProgramLine } from './fetch-program.ts'

const KILLS = 8
const KILLED_SIZE = 256 * MIB
/** So slow that nothing much is on its way when a fetch is stopped. */
const RATE = 48 * MIB
const PROGRAM = join(import.meta.dirname, 'fetch-program.ts')
let server: ModelServer
let sha256: string

beforeAll(async () => {
  server = await openModelServer()
  sha256 = await server.hashOf('a.bin', SIZE)
})

beforeEach(() => server.clearLog())

afterEach(() => server.clearFaults())

afterAll(() => server.close())

/** A partial file of which about half has arrived. */
async function fetchHalf(known: { readonly sha256?: string; readonly bytes?: number | null } = {}): Promise<string> {
  const partial = join(scratch(), 'a')
  await server.setFaults({ match: 'a.bin', kind: 'rate', rate: RATE })
  const { file, bytes } = await fetchFile({ partial, sources: [fileOf(server)], stopAt: SIZE / 2, ...known })
  expect(file).toBeNull()
  expect(bytes).toBeGreaterThanOrEqual(SIZE / 2)
  expect(leftOf(partial)).toEqual({ partial: true, map: true })
  await server.clearFaults()
  return partial
}

describe('a fetch that was stopped is gone on with', () => {
  test('and no byte is fetched twice', async () => {
    const partial = await fetchHalf({ sha256 })
    const { file, error, bytes, resumed } = await fetchFile({ partial, sources: [fileOf(server)], sha256 })
    expect(error).toBeNull()
    expect(file).toMatchObject({ sha256, bytes: SIZE, resumed })
    expect(resumed).toBeGreaterThan(SIZE * 0.45)
    expect(bytes + resumed).toBe(SIZE)
    expect(await hashOfFile(partial)).toBe(sha256)
    expect(await sentBy(server)).toBeLessThan(SIZE * 1.05)
  })

  test('by validator alone', async () => {
    const partial = await fetchHalf()
    await server.clearLog()
    const { file } = await fetchFile({ partial, sources: [fileOf(server)] })
    expect(file?.resumed).toBeGreaterThan(SIZE * 0.45)
    expect(await hashOfFile(partial)).toBe(sha256)
    const log = (await server.readLog()).filter(({ method }) => method === 'GET')
    for (const { headers, status } of log) {
      expect(headers['if-range']).toMatch(/^"[0-9a-f]{32}"$/)
      expect(status).toBe(206)
    }
    expect(log.length).toBeGreaterThan(0)
  })

  test('by date alone', async () => {
    await server.setFaults({ match: '/models/', kind: 'validator', is: 'date' })
    const partial = join(scratch(), 'a')
    await server.setFaults({ match: 'a.bin', kind: 'rate', rate: RATE })
    await fetchFile({ partial, sources: [fileOf(server)], stopAt: SIZE / 2 })
    const { file } = await fetchFile({ partial, sources: [fileOf(server)] })
    expect(file?.sha256).toBe(sha256)
    expect(file?.resumed).toBeGreaterThan(SIZE * 0.45)
  })

  test('at another source, when the hash says that it is the same file', async () => {
    const partial = await fetchHalf({ sha256 })
    const mirror = `${server.url}/mirror/blobs/sha256/${sha256}`
    const { file } = await fetchFile({ partial, sources: [mirror, fileOf(server)], sha256 })
    expect(file?.sha256).toBe(sha256)
    expect(file?.resumed).toBeGreaterThan(SIZE * 0.45)
    expect(await sentBy(server)).toBeLessThan(SIZE * 1.05)
  })

  test('over one connection from a server without ranges: it begins anew', async () => {
    const partial = await fetchHalf({ sha256 })
    await server.setFaults({ match: 'a.bin', kind: 'whole' })
    const { file, bytes, resumed } = await fetchFile({ partial, sources: [fileOf(server)], sha256 })
    expect(file).toMatchObject({ sha256, resumed: 0 })
    expect(await hashOfFile(partial)).toBe(sha256)
    expect(bytes + resumed).toBe(SIZE)
  })
})

describe('a fetch that was stopped begins anew', () => {
  test.each([[null], ['the hash of the new one']])('when the file has changed since (known: %s)', async (known) => {
    const second = await server.hashOf('a.bin', SIZE, 2)
    const partial = await fetchHalf()
    await server.setFaults({ match: 'a.bin', kind: 'version', version: 2 })
    const hash = known === null ? null : second
    const { file, bytes, resumed } = await fetchFile({ partial, sources: [fileOf(server)], sha256: hash })
    expect(file).toMatchObject({ sha256: second, resumed: 0 })
    expect(bytes + resumed).toBe(SIZE)
    expect(await hashOfFile(partial)).toBe(second)
  })

  test('when nothing tells whether it is the same file', async () => {
    await server.setFaults({ match: '/models/', kind: 'validator', is: 'weak' })
    const partial = join(scratch(), 'a')
    await server.setFaults({ match: 'a.bin', kind: 'rate', rate: RATE })
    await fetchFile({ partial, sources: [fileOf(server)], stopAt: SIZE / 2 })
    const { file } = await fetchFile({ partial, sources: [fileOf(server)] })
    expect(file).toMatchObject({ sha256, resumed: 0 })
  })

  const damages: readonly (readonly [string, (partial: string) => void])[] = [
    ['the map is gone', (partial) => rmSync(`${partial}.map`)],
    ['the map is empty', (partial) => writeFileSync(`${partial}.map`, '')],
    ['the map is not text', (partial) => writeFileSync(`${partial}.map`, Buffer.alloc(5_000, 0xfe))],
    ['the file is gone', (partial) => rmSync(partial)],
    ['the file is shorter than the map says', (partial) => truncateSync(partial, MIB)],
    ['the file is longer than it should be', (partial) => writeFileSync(partial, 'more', { flag: 'a' })],
    [
      'the map has ranges beyond the end',
      (partial) => writeFileSync(`${partial}.map`, `0 ${SIZE * 2}\n-5 7\n9 3\n${2 ** 60} ${2 ** 61}\n`, { flag: 'a' }),
    ],
  ]

  test.each(damages)('when %s', async (_, damage) => {
    const partial = await fetchHalf({ sha256 })
    damage(partial)
    const { file, error, bytes, resumed } = await fetchFile({ partial, sources: [fileOf(server)], sha256 })
    expect(error).toBeNull()
    expect(file?.sha256).toBe(sha256)
    expect(bytes + resumed).toBe(SIZE)
    expect(statSync(partial).size).toBe(SIZE)
    expect(await hashOfFile(partial)).toBe(sha256)
  })

  test('when what was there turns out to be wrong', async () => {
    const partial = await fetchHalf({ sha256 })
    writeFileSync(partial, 'other bytes', { flag: 'r+' })
    const { file, retries } = await fetchFile({ partial, sources: [fileOf(server)], sha256 })
    expect(file?.sha256).toBe(sha256)
    expect(retries.map(({ code }) => code)).toEqual(['CM1804'])
    expect(await hashOfFile(partial)).toBe(sha256)
  })
})

test('a last line of the map that was not written whole counts for nothing', async () => {
  const partial = await fetchHalf({ sha256 })
  const map = readFileSync(`${partial}.map`, 'utf8')
  writeFileSync(`${partial}.map`, `${map}0 ${SIZE}`)
  const { file, retries } = await fetchFile({ partial, sources: [fileOf(server)], sha256 })
  expect(retries).toEqual([])
  expect(file?.sha256).toBe(sha256)
})

test('a link in the place of a partial file is not followed', async () => {
  const folder = scratch()
  const target = join(folder, 'target')
  writeFileSync(target, 'precious')
  symlinkSync(target, join(folder, 'a'))
  await fetchFile({ partial: join(folder, 'a'), sources: [fileOf(server)], sha256 }).catch(() => undefined)
  expect(readFileSync(target, 'utf8')).toBe('precious')
})

describe(`${KILLS} kills (COMFY_TEST_SEED=${SEED})`, () => {
  const random = randomOf(SEED)

  function start(partial: string, hash: string): ChildProcess {
    const request = {
      name: 'k.bin',
      partial,
      sources: [sourceOf(fileOf(server, 'k.bin', KILLED_SIZE))],
      bytes: KILLED_SIZE,
      mostBytes: KILLED_SIZE,
      sha256: hash,
    }
    const input: ProgramInput = { options: OPTIONS, request }
    return spawn(process.execPath, [PROGRAM, JSON.stringify(input)], { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  test('lose nothing that had arrived', async () => {
    await server.setFaults({ match: 'k.bin', kind: 'rate', rate: KILLED_SIZE / 4 })
    const partial = join(scratch(), 'k')
    const hash = await server.hashOf('k.bin', KILLED_SIZE)
    let before = 0
    for (let kill = 0; kill <= KILLS; kill += 1) {
      const isLast = kill === KILLS
      const at = isLast ? Number.POSITIVE_INFINITY : (KILLED_SIZE * (kill + random())) / (KILLS + 1)
      const child = start(partial, hash)
      const ended = once(child, 'exit')
      const there: number[] = []
      for await (const line of createInterface({ input: child.stdout ?? process.stdin })) {
        const told = (JSON.parse(line) as ProgramLine).there
        if (told !== undefined) there.push(told)
        if (told !== undefined && told > at) child.kill('SIGKILL')
      }
      expect(await ended, `kill ${kill} at ${at}`).toEqual(isLast ? [0, null] : [null, 'SIGKILL'])
      // What it says first is what it goes on with, and was written before the one before it said so.
      if (kill > 0) expect(there[0]).toBeGreaterThanOrEqual(before)
      before = there.at(-1) ?? 0
    }
    expect(before).toBe(KILLED_SIZE)
    expect(await hashOfFile(partial)).toBe(hash)
  }, 60_000)
})
