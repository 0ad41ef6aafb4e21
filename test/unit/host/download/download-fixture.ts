import { createHash } from 'node:crypto'
import { createReadStream, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { afterAll, onTestFinished } from 'vitest'
import { type ErrorCode, MachineError } from '../../../../src/errors.ts'
import { openFetcher } from '../../../../src/host/download/fetcher.ts'
import type { FetchedFile, FetchRequest, ModelSource } from '../../../../src/host/model-ports.ts'
import type { ModelServer } from '../../../fixtures/model-server.ts'

export const MIB = 1024 * 1024
/** Large enough for several connections. */
export const SIZE = 64 * MIB

type Options = Parameters<typeof openFetcher>[0]

/** As the product's, with a test's patience. */
export const OPTIONS = {
  proxies: {},
  retry: { tries: 3, baseMs: 10, maxMs: 40 },
  limits: { connections: 8, connectionsPerHost: 8, rateLimit: null },
  times: { connectMs: 2_000, stallMs: 1_000, slowMs: 20_000 },
  allowInsecure: true,
} satisfies Omit<Options, 'signal'>

/** How a fetch went: the file, or why there is none, and what was told on the way. */
export interface Fetched {
  readonly file: FetchedFile | null
  readonly error: MachineError | null
  /** Sum of what was told as arrived. */
  readonly bytes: number
  /** Sum of what was told as gone on with. */
  readonly resumed: number
  readonly retries: readonly { readonly code: ErrorCode; readonly attempt: number }[]
}

/** What a test wants otherwise. */
export interface Wanted extends Partial<Omit<FetchRequest, 'sources'>> {
  readonly sources?: readonly (string | ModelSource)[]
  readonly options?: Partial<Options>
  /** Stops the fetch when so many bytes have arrived. */
  readonly stopAt?: number
}

/** A folder of this test, removed at its end. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'download-'))
  onTestFinished(() => removeFolder(folder))
  return folder
}

/** A folder of all tests of a file, removed at their end. */
export function makeScratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'download-'))
  afterAll(() => removeFolder(folder))
  return folder
}

function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}

/** A source without a token. */
export function sourceOf(url: string, token: string | null = null): ModelSource {
  return { url, token, tokenVariable: token === null ? null : 'MODEL_TOKEN' }
}

/** Address of a file of the server. */
export function fileOf(server: ModelServer, name = 'a.bin', size = SIZE): string {
  return `${server.url}/models/${name}?size=${size}`
}

/** Fetches one file to its end or its failure; anything but a MachineError is thrown. */
export async function fetchFile(wanted: Wanted & { readonly partial: string }): Promise<Fetched> {
  const stop = new AbortController()
  const fetcher = openFetcher({ ...OPTIONS, signal: stop.signal, ...wanted.options })
  const { options: _, stopAt = Number.POSITIVE_INFINITY, sources = [], ...rest } = wanted
  let bytes = 0
  let resumed = 0
  const retries: { code: ErrorCode; attempt: number }[] = []
  const told = () => ({ bytes, resumed, retries })
  try {
    const file = await fetcher.fetch({
      name: 'a.bin',
      bytes: SIZE,
      mostBytes: 4 * SIZE,
      sha256: null,
      sources: sources.map((source) => (typeof source === 'string' ? sourceOf(source) : source)),
      onBytes: (count) => {
        bytes += count
        if (bytes >= stopAt) stop.abort()
      },
      onResume: (count) => {
        resumed += count
      },
      onRetry: (error, attempt) => {
        retries.push({ code: error instanceof MachineError ? error.code : 'CM0001', attempt })
      },
      ...rest,
    })
    return { file, error: null, ...told() }
  } catch (error) {
    if (error instanceof MachineError) return { file: null, error, ...told() }
    if (stop.signal.aborted) return { file: null, error: null, ...told() }
    throw error
  } finally {
    fetcher.close()
  }
}

/** sha256 of a file in hex. */
export async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}

/** What there is of a fetch that ended: its partial file, its map. */
export function leftOf(partial: string): { readonly partial: boolean; readonly map: boolean } {
  return { partial: existsSync(partial), map: existsSync(`${partial}.map`) }
}

/** Bytes of bodies that a server sent since its log was emptied. */
export async function sentBy(server: ModelServer): Promise<number> {
  return (await server.readLog()).reduce((sum, { sent }) => sum + sent, 0)
}
