import type { JobResult } from './ports.ts'

interface Waiter {
  readonly resolve: (result: JobResult) => void
  readonly reject: (error: Error) => void
}

// A job may end before the reply that names it is read.
const KEPT_RESULTS = 512

/** Jobs of the manager that somebody waits for, by their number. */
export class UnitJobs {
  readonly #waiting = new Map<number, Waiter>()
  readonly #ended = new Map<number, JobResult>()

  /** Resolves with the result of a job, also of one that has ended already. */
  async result(id: number): Promise<JobResult> {
    return this.#ended.get(id) ?? (await new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject })))
  }

  /** Takes note of the end of a job. */
  end(id: number, result: JobResult): void {
    this.#waiting.get(id)?.resolve(result)
    this.#waiting.delete(id)
    this.#ended.set(id, result)
    const [oldest] = this.#ended.keys()
    if (this.#ended.size > KEPT_RESULTS && oldest !== undefined) this.#ended.delete(oldest)
  }

  /** Gives up every wait: no end will be told any more. */
  lose(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
