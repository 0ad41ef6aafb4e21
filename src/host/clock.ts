import type { Clock } from './ports.ts'

let anchorMs = performance.timeOrigin

/** Wall clock of the host with microsecond resolution; follows the host's clock when that is set. */
export const systemClock: Clock = {
  nowUs() {
    const wallMs = Date.now()
    if (Math.abs(anchorMs + performance.now() - wallMs) > 2) anchorMs = wallMs - performance.now()
    return Math.round((anchorMs + performance.now()) * 1000)
  },
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted === true) return resolve()
      const wake = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', wake)
        resolve()
      }
      const timer = setTimeout(wake, ms)
      signal?.addEventListener('abort', wake)
    }),
}
