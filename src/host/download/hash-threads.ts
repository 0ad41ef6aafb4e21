import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import type { HashAnswer, HashOrder } from './hash-thread.ts'

/** Orders for so many bytes at least: a message costs more than a small read. */
const STEP_BYTES = 4 * 1024 * 1024
const MOST_THREADS = 2

/** The sha256 of one file that is being written. */
export interface HashJob {
  /** The first `upTo` bytes are in the file and do not change any more. */
  advance(upTo: number): void
  /** The file is whole with so many bytes; resolves to its sha256 in lowercase hex. `onBytes` is told what was read meanwhile. */
  finish(total: number, onBytes?: (count: number) => void): Promise<string>
  cancel(): void
}

/** Threads that compute sha256 of files out of the page cache while they are written. */
export interface HashThreads {
  begin(path: string): HashJob
  close(): void
}

interface Thread {
  readonly worker: Worker
  jobs: number
}

interface Waiter {
  readonly thread: Thread
  readonly resolve: (sha256: string) => void
  readonly reject: (error: Error) => void
  readonly onBytes: ((count: number) => void) | undefined
}

// In the package the thread lies beside the program's chunks.
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './hash-thread.ts' : '../threads/hash-thread.js',
  import.meta.url,
)

/** A pool of up to two threads, each started when it is needed; they do not keep the process alive. */
export function openHashThreads(): HashThreads {
  const threads: Thread[] = []
  const waiting = new Map<number, Waiter>()
  const most = Math.min(MOST_THREADS, availableParallelism())
  let lastId = 0

  const settle = (id: number, end: (waiter: Waiter) => void): void => {
    const waiter = waiting.get(id)
    waiting.delete(id)
    if (waiter === undefined) return
    waiter.thread.jobs -= 1
    end(waiter)
  }
  const start = (): Thread => {
    const worker = new Worker(PROGRAM, { env: {}, execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 2 } })
    const thread = { worker, jobs: 0 }
    worker.unref()
    worker.on('message', (answer: HashAnswer) => {
      if (answer.kind === 'read') return waiting.get(answer.id)?.onBytes?.(answer.bytes)
      settle(answer.id, ({ resolve, reject }) =>
        answer.kind === 'hashed' ? resolve(answer.sha256) : reject(answer.error),
      )
    })
    worker.on('error', (error) => {
      threads.splice(threads.indexOf(thread), 1)
      for (const [id, waiter] of waiting)
        if (waiter.thread === thread) settle(id, ({ reject }) => reject(error as Error))
    })
    threads.push(thread)
    return thread
  }
  const choose = (): Thread => {
    const [idlest] = threads.toSorted((a, b) => a.jobs - b.jobs)
    return idlest === undefined || (idlest.jobs > 0 && threads.length < most) ? start() : idlest
  }

  return {
    begin(path) {
      lastId += 1
      const id = lastId
      let thread: Thread | undefined
      let told = 0
      const order = (message: HashOrder): void => {
        if (thread === undefined) {
          thread = choose()
          thread.jobs += 1
        }
        thread.worker.postMessage(message)
      }
      return {
        advance(upTo) {
          if (upTo - told < STEP_BYTES) return
          told = upTo
          order({ kind: 'advance', id, path, upTo })
        },
        finish(total, onBytes) {
          return new Promise((resolve, reject) => {
            order({ kind: 'finish', id, path, upTo: total, isTold: onBytes !== undefined })
            if (thread === undefined) return
            thread.worker.ref()
            const release = <T>(end: (value: T) => void) => {
              return (value: T): void => {
                thread?.worker.unref()
                end(value)
              }
            }
            waiting.set(id, { thread, resolve: release(resolve), reject: release(reject), onBytes })
          })
        },
        cancel() {
          if (thread === undefined) return
          thread.worker.postMessage({ kind: 'cancel', id } satisfies HashOrder)
          thread.jobs -= 1
          thread = undefined
        },
      }
    },
    close() {
      for (const { worker } of threads.splice(0)) void worker.terminate()
    },
  }
}
