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

interface Waiter {
  readonly resolve: (sha256: string) => void
  readonly reject: (error: Error) => void
  readonly onBytes: ((count: number) => void) | undefined
}

// In the package the thread lies beside the program's chunks.
const PROGRAM = new URL(
  import.meta.url.endsWith('.ts') ? './hash-thread.ts' : '../threads/hash-thread.js',
  import.meta.url,
)

/** One thread. What it is told within a turn of the event loop goes to it at once, and it keeps the process alive only while somebody waits. */
class HashThread {
  readonly #worker = new Worker(PROGRAM, { env: {}, execArgv: [], resourceLimits: { maxYoungGenerationSizeMb: 2 } })
  readonly #waiting = new Map<number, Waiter>()
  #orders: HashOrder[] = []
  /** Files that it is at. */
  jobs = 0

  constructor(onEnd: (thread: HashThread) => void) {
    this.#worker.unref()
    this.#worker.on('message', (answers: readonly HashAnswer[]) => {
      for (const answer of answers) this.#take(answer)
    })
    this.#worker.on('error', (error) => {
      onEnd(this)
      for (const id of [...this.#waiting.keys()]) this.#settle(id, ({ reject }) => reject(error as Error))
    })
  }

  tell(order: HashOrder): void {
    if (this.#orders.length === 0) setImmediate(() => this.#send())
    this.#orders.push(order)
  }

  wait(id: number, waiter: Waiter): void {
    if (this.#waiting.size === 0) this.#worker.ref()
    this.#waiting.set(id, waiter)
  }

  end(): void {
    void this.#worker.terminate()
  }

  #send(): void {
    this.#worker.postMessage(this.#orders)
    this.#orders = []
  }

  #take(answer: HashAnswer): void {
    if (answer.kind === 'read') this.#waiting.get(answer.id)?.onBytes?.(answer.bytes)
    else if (answer.kind === 'hashed') this.#settle(answer.id, ({ resolve }) => resolve(answer.sha256))
    else this.#settle(answer.id, ({ reject }) => reject(answer.error))
  }

  #settle(id: number, end: (waiter: Waiter) => void): void {
    const waiter = this.#waiting.get(id)
    if (waiter === undefined) return
    this.#waiting.delete(id)
    this.jobs -= 1
    if (this.#waiting.size === 0) this.#worker.unref()
    end(waiter)
  }
}

/** A pool of up to two threads, each started when it is needed. */
export function openHashThreads(): HashThreads {
  const threads: HashThread[] = []
  const most = Math.min(MOST_THREADS, availableParallelism())
  let lastId = 0
  const choose = (): HashThread => {
    const [idlest] = threads.toSorted((a, b) => a.jobs - b.jobs)
    if (idlest !== undefined && (idlest.jobs === 0 || threads.length >= most)) return idlest
    const thread = new HashThread((ended) => threads.splice(threads.indexOf(ended), 1))
    threads.push(thread)
    return thread
  }

  return {
    begin(path) {
      lastId += 1
      const id = lastId
      let thread: HashThread | undefined
      let told = 0
      const take = (): HashThread => {
        if (thread !== undefined) return thread
        thread = choose()
        thread.jobs += 1
        return thread
      }
      return {
        advance(upTo) {
          if (upTo - told < STEP_BYTES) return
          told = upTo
          take().tell({ kind: 'advance', id, path, upTo })
        },
        finish(total, onBytes) {
          const own = take()
          own.tell({ kind: 'finish', id, path, upTo: total, isTold: onBytes !== undefined })
          return new Promise((resolve, reject) => own.wait(id, { resolve, reject, onBytes }))
        },
        cancel() {
          if (thread === undefined) return
          thread.tell({ kind: 'cancel', id })
          thread.jobs -= 1
          thread = undefined
        },
      }
    },
    close() {
      for (const thread of threads.splice(0)) thread.end()
    },
  }
}
