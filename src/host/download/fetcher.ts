import * as fs from 'node:fs'
import type { RetryPolicy } from '../../install/retry.ts'
import { digest } from '../digest.ts'
import { fault } from '../fault.ts'
import type { FetchedFile, Fetcher, FetchRequest } from '../model-ports.ts'
import { DeadHosts } from './dead-hosts.ts'
import { Dispatcher } from './dispatcher.ts'
import { ofFileSystem } from './failures.ts'
import { FileTask } from './file-task.ts'
import { openHashThreads } from './hash-threads.ts'
import { PartFile } from './part-file.ts'
import { openRateLimit } from './rate-limit.ts'
import { askSize } from './size.ts'
import { SourceTrail } from './source-trail.ts'
import { SyncQueue } from './sync-queue.ts'

/** What fetching needs. */
export interface FetcherOptions {
  readonly signal: AbortSignal
  /** http_proxy, https_proxy, no_proxy. */
  readonly proxies: Readonly<Record<string, string>>
  readonly retry: RetryPolicy
  /** Connections in all and to one host; bytes a second over all of them, null for no limit. */
  readonly limits: {
    readonly connections: number
    readonly connectionsPerHost: number
    readonly rateLimit: number | null
  }
  /** Plain http: is allowed, also as the target of a redirect. */
  readonly allowInsecure: boolean
  /** Milliseconds: for a connection to come up, without a byte, with less than a kB a second. */
  readonly times?: { readonly connectMs: number; readonly stallMs: number; readonly slowMs: number }
}

const TIMES = { connectMs: 10_000, stallMs: 30_000, slowMs: 60_000 }
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** The fetcher of models: HTTP on bare sockets, by the library where a proxy is set or a server needs more. */
export function openFetcher(options: FetcherOptions): Fetcher {
  const { signal, proxies, retry, limits, allowInsecure } = options
  const times = options.times ?? TIMES
  const threads = openHashThreads()
  const dispatcher = new Dispatcher({ ...limits, ...times, proxies })
  const rate = openRateLimit(limits.rateLimit)
  const isProxied = Object.entries(proxies).some(([name, value]) => /^https?_proxy$/i.test(name) && value !== '')
  const settings = {
    isProxied,
    retry,
    connections: limits.connections,
    waitAfter: rate.take,
    wake: dispatcher.pump,
  }
  const deadHosts = new DeadHosts()
  const tools = { threads, queue: new SyncQueue(), boot: fs.readFileSync(BOOT_ID, 'utf8').trim() }
  const tasks = new Set<FileTask>()
  const stop = (): void => {
    for (const task of tasks) task.stop(signal.reason)
    dispatcher.close(fault('ECANCELED', 'stopped'))
  }
  signal.addEventListener('abort', stop, { once: true })

  const openPart = (request: FetchRequest): PartFile => {
    const { partial, sources, sha256, bytes, name } = request
    const source = digest(sources[0]?.url ?? '')
    try {
      return PartFile.open(partial, { source, sha256, bytes }, tools)
    } catch (error) {
      throw ofFileSystem(name, error)
    }
  }

  return {
    async fetch(request): Promise<FetchedFile> {
      signal.throwIfAborted()
      const part = openPart(request)
      let isKept = false
      try {
        const trail = new SourceTrail(request.sources, allowInsecure, deadHosts)
        const task = new FileTask(request, part, trail, settings)
        tasks.add(task)
        dispatcher.add(task)
        try {
          task.begin()
          const fetched = await task.done
          isKept = true
          return fetched
        } finally {
          tasks.delete(task)
          dispatcher.remove(task)
          dispatcher.pump()
        }
      } finally {
        await part.close(!isKept)
        if (!isKept && part.arrived.bytes === 0) part.remove()
      }
    },
    sizeOf: (sources) => askSize(sources, { signal, allowInsecure, deadHosts, proxies, connectMs: times.connectMs }),
    close() {
      signal.removeEventListener('abort', stop)
      dispatcher.close(fault('ECANCELED', 'closed'))
      threads.close()
      tools.queue.close()
    },
  }
}
