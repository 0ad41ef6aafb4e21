import type { InstallHost } from '../host/install-ports.ts'
import { createHeartbeat } from './context.ts'
import { renderProgress } from './model-plan.ts'

const PERIOD_US = 1_000_000

/** Counts bytes and models, and says once a second how far it is. */
export interface Meter {
  /** Bytes that arrived, or negative ones that do not count any more. */
  readonly add: (count: number) => void
  readonly finishOne: () => void
  readonly stop: () => void
}

/** A meter over `models` files of `totalBytes` in all; bytes move the deadline of the start, silence does not. */
export function createMeter(host: InstallHost, models: number, totalBytes: number): Meter {
  const beat = createHeartbeat(host)
  let done = 0
  let bytes = 0
  let saidUs = host.clock.nowUs()
  let saidBytes = 0
  const say = (nowUs: number): void => {
    const seconds = (nowUs - saidUs) / 1e6
    const bytesPerSecond = seconds > 0 ? Math.max(0, bytes - saidBytes) / seconds : 0
    host.notify.status(renderProgress({ done, models, bytes, totalBytes, bytesPerSecond }))
    saidUs = nowUs
    saidBytes = bytes
  }
  return {
    add(count) {
      bytes += count
      if (count > 0) beat()
      const nowUs = host.clock.nowUs()
      if (nowUs - saidUs >= PERIOD_US) say(nowUs)
    },
    finishOne() {
      done += 1
      say(host.clock.nowUs())
    },
    stop: () => say(host.clock.nowUs()),
  }
}
