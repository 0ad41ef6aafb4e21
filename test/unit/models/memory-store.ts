import { MachineError } from '../../../src/errors.ts'
import { digest } from '../../../src/host/digest.ts'
import type { Fetcher, FetchRequest, StoreFiles, StoreHolder, StoreLock } from '../../../src/host/model-ports.ts'
import type { WantedModel } from '../../../src/install/components.ts'
import type { ModelTools } from '../../../src/models/bring-models.ts'
import type { MemoryContext } from '../install/context.ts'

/** The outside of a model installer as plain values, and what was done with it. */
export interface ModelWorld {
  /** What servers have, by URL. */
  readonly served: Map<string, string>
  /** URLs that models were downloaded from, in the order in which that began. */
  readonly fetched: string[]
  /** Requests as they came. */
  readonly requests: FetchRequest[]
  /** `place`, `seal`, `adopt`, `hash` and the path, in order. */
  readonly done: string[]
  /** What a HEAD says of the URLs that it is asked for. */
  readonly sizes: Map<string, number>
  /** Others that hold the store, one for each time that it is asked for; then it is free. */
  readonly holders: StoreHolder[]
  /** How often the lock was taken, touched and released. */
  readonly lock: { taken: number; touched: number; released: number }
  /** What a step of the file system fails with, by its words in `done`. */
  readonly refuse: Map<string, Error>
  open(): Promise<ModelTools>
}

/** A model with this content, whose hash and size are declared. */
export function modelOf(path: string, content: string, changes: Partial<WantedModel> = {}): WantedModel {
  return {
    name: path.split('/').at(-1) ?? path,
    url: `https://models.example/${path}`,
    path,
    bytes: content.length,
    estimatedBytes: content.length,
    sha256: digest(content),
    authEnvVar: null,
    sources: [],
    ...changes,
  }
}

/** A failure of the file system. */
export function errno(code: string): Error {
  return Object.assign(new Error(`${code}: refused`), { code })
}

/** A world over the files of a memory context; `during` runs within each download. */
export function modelWorld(
  context: MemoryContext,
  during = async (_: FetchRequest): Promise<void> => undefined,
): ModelWorld {
  const { texts } = context
  const { files } = context.host
  const world: ModelWorld = {
    served: new Map(),
    fetched: [],
    requests: [],
    done: [],
    sizes: new Map(),
    holders: [],
    lock: { taken: 0, touched: 0, released: 0 },
    refuse: new Map(),
    open: async () => ({ fetcher, store, trees: { copyMissing: async () => undefined, listFiles } }),
  }
  const listFiles = async (folder: string): Promise<readonly string[]> =>
    [...texts.keys()].filter((path) => path.startsWith(`${folder}/`)).map((path) => path.slice(folder.length + 1))
  const step = (what: string): void => {
    world.done.push(what)
    const error = world.refuse.get(what)
    if (error !== undefined) throw error
  }
  const textOf = (path: string): string => {
    const text = texts.get(path)
    if (text === undefined) throw errno('ENOENT')
    return text
  }
  const store: StoreFiles = {
    async hash(path, onBytes) {
      step(`hash ${path}`)
      onBytes?.(textOf(path).length)
      return digest(textOf(path))
    },
    async seal(partial, blob) {
      step(`seal ${blob}`)
      await files.rename(partial, blob)
      await files.remove(`${partial}.map`)
    },
    async place(blob, path) {
      step(`place ${path}`)
      await files.writeText(path, textOf(blob))
      const { bytes = 0, mtimeMs = 0 } = (await files.stat(path)) ?? {}
      return { placement: 'linked', bytes, mtimeMs }
    },
    settle: async () => undefined,
    async adopt(path, blob) {
      step(`adopt ${path}`)
      await files.writeText(blob, textOf(path))
      return true
    },
    copy: async () => '',
    async lock() {
      const holder = world.holders.shift()
      if (holder !== undefined) return holder
      world.lock.taken += 1
      const taken: StoreLock = {
        async touch() {
          world.lock.touched += 1
        },
        async release() {
          world.lock.released += 1
        },
      }
      return taken
    },
  }
  const fetcher: Fetcher = {
    async fetch(request) {
      world.requests.push(request)
      const source = request.sources.find(({ url }) => world.served.has(url))
      world.fetched.push(source?.url ?? 'nowhere')
      await during(request)
      if (source === undefined) throw new MachineError('CM1802', 'models.example answered 404')
      const content = world.served.get(source.url) ?? ''
      const sha256 = digest(content)
      if (request.sha256 !== null && request.sha256 !== sha256)
        throw new MachineError('CM1804', `sha256 is ${sha256}, expected ${request.sha256}`)
      texts.set(request.partial, content)
      texts.set(`${request.partial}.map`, '')
      return { bytes: content.length, sha256, resumed: 0, attempts: 1, host: new URL(source.url).host }
    },
    sizeOf: async (sources) =>
      sources.map(({ url }) => world.sizes.get(url)).find((size) => size !== undefined) ?? null,
    close: () => undefined,
  }
  return world
}
