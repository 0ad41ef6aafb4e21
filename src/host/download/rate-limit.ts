/** Bytes that may pass in a time, over all connections. */
export interface RateLimit {
  /** Counts bytes that have arrived; returns milliseconds to wait before more may. */
  take(bytes: number): number
}

/** A limit in bytes a second; null for none. */
export function openRateLimit(bytesPerSecond: number | null): RateLimit {
  if (bytesPerSecond === null) return { take: () => 0 }
  let freeMs = 0
  return {
    take(bytes) {
      const nowMs = performance.now()
      freeMs = Math.max(nowMs, freeMs) + (bytes / bytesPerSecond) * 1000
      return freeMs - nowMs
    },
  }
}
