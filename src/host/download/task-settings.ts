import type { RetryPolicy } from '../../install/retry.ts'

/** What all files have in common. */
export interface TaskSettings {
  readonly retry: RetryPolicy
  /** Connections that one file may have. */
  readonly connections: number
  /** Some addresses are reached through a proxy. */
  readonly isProxied: boolean
  /** Counts bytes that came; returns milliseconds to wait before more are read. */
  readonly waitAfter: (bytes: number) => number
  /** Something can be claimed that could not be before. */
  readonly wake: () => void
}
