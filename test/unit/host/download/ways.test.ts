import { execFile, execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ModelSource } from '../../../../src/host/model-ports.ts'
import { type ModelServer, openModelServer } from '../../../fixtures/model-server.ts'
import { type ForwardProxy, openForwardProxy } from '../../../host/forward-proxy.ts'
import { fetchFile, fileOf, makeScratch, OPTIONS, SIZE, scratch, sourceOf } from './download-fixture.ts'
import type { ProgramInput, ProgramLine } from './fetch-program.ts'

const PROGRAM = join(import.meta.dirname, 'fetch-program.ts')
const runFile = promisify(execFile)
type Options = ProgramInput['options']

let folder: string
let server: ModelServer
let sha256: string

const openssl = (...args: readonly string[]): void => {
  execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
}

/** A certificate of 127.0.0.1 and of localhost, by a CA that nobody else knows. */
function makeCertificates(): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=test CA')
  openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=server')
  writeFileSync(join(folder, 'names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names']
  openssl('x509', '-req', '-in', 'server.csr', ...signed, '-out', 'server.pem')
  const both = ['server.pem', 'server.key'].map((name) => readFileSync(join(folder, name), 'utf8'))
  writeFileSync(join(folder, 'both.pem'), both.join(''))
}

beforeAll(async () => {
  folder = makeScratch()
  makeCertificates()
  server = await openModelServer(join(folder, 'both.pem'))
  sha256 = await server.hashOf('a.bin', SIZE)
})

beforeEach(() => server.clearLog())

afterEach(() => server.clearFaults())

afterAll(() => server.close())

const secureFile = (host = '127.0.0.1'): string => `https://${host}:${server.tlsPort}/models/a.bin?size=${SIZE}`

/** Fetches in a process of its own, which trusts the test's CA if it is told to. */
async function fetchTrusting(ca: boolean, source: ModelSource, options: Partial<Options> = {}): Promise<ProgramLine> {
  const request = {
    name: 'a.bin',
    partial: join(scratch(), 'a'),
    sources: [source],
    bytes: SIZE,
    mostBytes: SIZE,
    sha256,
  }
  const input: ProgramInput = { options: { ...OPTIONS, ...options }, request }
  const { stdout } = await runFile(process.execPath, [PROGRAM, JSON.stringify(input)], {
    env: ca ? { NODE_EXTRA_CA_CERTS: join(folder, 'ca.pem') } : {},
    maxBuffer: 64 * 1024 * 1024,
  })
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as ProgramLine
}

const requestsFor = async (name: string) => (await server.readLog()).filter(({ path }) => path.includes(name))

describe('TLS', () => {
  test('brings the file over several connections', async () => {
    for (const host of ['127.0.0.1', 'localhost']) {
      await server.clearLog()
      expect(await fetchTrusting(true, sourceOf(secureFile(host)), { allowInsecure: false })).toEqual({ sha256 })
      const used = (await server.readLog()).filter(({ sent }) => sent > 0).map(({ connection }) => connection)
      expect(new Set(used).size).toBeGreaterThan(1)
    }
  })

  test('of a CA that nobody knows is refused', async () => {
    const told = await fetchTrusting(false, sourceOf(secureFile(), 'a-token'))
    expect(told).toEqual({ code: 'CM1801', type: 'tls_failure' })
    expect(await requestsFor('a.bin')).toEqual([])
  })

  test('of another name is refused', async () => {
    const told = await fetchTrusting(true, sourceOf(secureFile('127.0.0.2')))
    expect(told).toEqual({ code: 'CM1801', type: 'tls_failure' })
    expect(await requestsFor('a.bin')).toEqual([])
  })

  test('is not left for plain HTTP by a redirect', async () => {
    await server.setFaults({ match: 'size', kind: 'redirect', to: `${server.url}/models/b.bin` })
    const told = await fetchTrusting(true, sourceOf(secureFile(), 'a-token'), { allowInsecure: false })
    expect(told.code).toMatch(/^CM180[12]$/)
    expect(await requestsFor('b.bin')).toEqual([])
  })

  test('a token does not follow from HTTPS to HTTP where that is allowed', async () => {
    await server.setFaults({ match: 'first', kind: 'redirect', to: fileOf(server) })
    const source = sourceOf(`https://127.0.0.1:${server.tlsPort}/models/first.bin`, 'a-token')
    expect(await fetchTrusting(true, source)).toEqual({ sha256 })
    for (const { path, headers } of await server.readLog()) {
      expect(headers['authorization'], path).toBe(path.includes('first') ? 'Bearer a-token' : undefined)
    }
  })

  test('a port that does not speak it', async () => {
    const told = await fetchTrusting(true, sourceOf(`https://127.0.0.1:${server.port}/models/a.bin`))
    expect(told).toEqual({ code: 'CM1801', type: 'tls_failure' })
  })

  test('goes through a proxy', async () => {
    const proxy = await openForwardProxy('127.0.0.1')
    const told = await fetchTrusting(true, sourceOf(secureFile()), { proxies: { https_proxy: proxy.url } })
    proxy.close()
    expect(told).toEqual({ sha256 })
  })
})

describe('a proxy', () => {
  let proxy: ForwardProxy

  beforeAll(async () => {
    // The server tells by the address of its clients who came through.
    proxy = await openForwardProxy('127.0.0.1')
  })

  afterAll(() => proxy.close())

  test('carries plain HTTP', async () => {
    const options = { proxies: { http_proxy: proxy.url } }
    const { file, error } = await fetchFile({
      partial: join(scratch(), 'a'),
      sources: [fileOf(server)],
      sha256,
      options,
    })
    expect(error).toBeNull()
    expect(file?.sha256).toBe(sha256)
  })

  test('that is not there is needed, but for what no_proxy names', async () => {
    const dead = { http_proxy: 'http://127.0.0.1:9', https_proxy: 'http://127.0.0.1:9' }
    const sources = [fileOf(server)]
    const refused = await fetchFile({ partial: join(scratch(), 'a'), sources, sha256, options: { proxies: dead } })
    expect(refused.error?.code).toBe('CM1801')
    expect((await server.readLog()).filter(({ path }) => path.includes('a.bin'))).toEqual([])
    for (const no_proxy of ['127.0.0.1', 'elsewhere,127.0.0.1', '*', `127.0.0.1:${server.port}`]) {
      const options = { proxies: { ...dead, no_proxy } }
      const { error } = await fetchFile({ partial: join(scratch(), 'a'), sources, sha256, options })
      expect(error, no_proxy).toBeNull()
    }
  })
})
