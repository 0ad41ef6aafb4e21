import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from './ports.ts'

let anchorMs = performance.timeOrigin

/** Wall clock of the host with microsecond resolution; follows the host's clock when that is set. */
export const systemClock: Clock = {
  nowUs() {
    const wallMs = Date.now()
    if (Math.abs(anchorMs + performance.now() - wallMs) > 2) anchorMs = wallMs - performance.now()
    return Math.round((anchorMs + performance.now()) * 1000)
  },
  async sleep(ms, signal) {
    await delay(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
      if (signal?.aborted !== true) throw error
    })
  },
}
