import { delayAfter, type RetryPolicy } from '../../install/retry.ts'

/** How often one source of a file has failed in a row, and when it may be asked again. */
export class Tries {
  readonly #policy: RetryPolicy
  #failures = 0
  #notBeforeMs = 0

  constructor(policy: RetryPolicy) {
    this.#policy = policy
  }

  /** The source may be asked again then, in milliseconds since the epoch. */
  get notBeforeMs(): number {
    return this.#notBeforeMs
  }

  /** Bytes came that stay, or another source is in turn. */
  reset(): void {
    this.#failures = 0
    this.#notBeforeMs = 0
  }

  /** Counts a failure. again: it is tried once more, later. over: often enough. known: it failed together with another connection. */
  count(waitMs: number): 'again' | 'over' | 'known' {
    const nowMs = Date.now()
    if (nowMs < this.#notBeforeMs) return 'known'
    this.#failures += 1
    if (this.#failures >= this.#policy.tries) return 'over'
    this.#notBeforeMs = nowMs + delayAfter(this.#failures, this.#policy, Math.random(), waitMs)
    return 'again'
  }
}
