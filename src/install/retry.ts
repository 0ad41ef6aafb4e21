/** How often and how patiently something is tried again; times in milliseconds. */
export interface RetryPolicy {
  readonly tries: number
  readonly baseMs: number
  readonly maxMs: number
}

/** Five tries within about ten seconds when a peer refuses at once. */
export const DEFAULT_RETRY: RetryPolicy = { tries: 5, baseMs: 500, maxMs: 8_000 }

/** Milliseconds to wait after failed try `attempt` (from 1): exponential, jittered by a quarter, at least `retryAfterMs`. */
export function delayAfter(attempt: number, policy: RetryPolicy, random: number, retryAfterMs = 0): number {
  const exponential = Math.min(policy.maxMs, policy.baseMs * 2 ** (attempt - 1))
  return Math.round(Math.max(exponential * (0.75 + random / 2), retryAfterMs))
}

/** Milliseconds of a Retry-After header (RFC 9110, 10.2.3), in seconds or as a date; 0 when it is absent or not understood. */
export function parseRetryAfter(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 0
  if (/^\d+$/.test(header.trim())) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? 0 : Math.max(0, at - nowMs)
}
