import { createHeartbeat, type InstallContext } from '../install/context.ts'
import { openTeller, type Told } from '../install/teller.ts'
import type { Progress } from '../report.ts'
import { renderProgress } from './model-plan.ts'

/** The rate is that of so many microseconds before now. */
const WINDOW_US = 5_000_000

/** Counts bytes and models, and tells how far it is. */
export interface Meter {
  readonly begin: (name: string) => void
  readonly finish: (name: string) => void
  /** Bytes that arrived, or negative ones that do not count any more. */
  readonly add: (count: number) => void
  /** Bytes that were there before: they count, but nobody waited for them. */
  readonly resume: (count: number) => void
  readonly stop: () => void
}

/** A meter over `total` models of `totalBytes` in all, where that is known; bytes move the deadline of the start, silence does not. */
export function createMeter(context: InstallContext, total: number, totalBytes: number | undefined): Meter {
  const { clock } = context.host
  const beat = createHeartbeat(context.host)
  const current: string[] = []
  let [done, bytes, arrived] = [0, 0, 0]
  let samples = [{ us: clock.nowUs(), arrived: 0 }]
  const rate = (): number | undefined => {
    const us = clock.nowUs()
    const old = samples.findLastIndex((sample) => us - sample.us >= WINDOW_US)
    samples = [...samples.slice(Math.max(0, old)), { us, arrived }]
    const [first] = samples
    return first === undefined || first.us === us ? undefined : ((arrived - first.arrived) / (us - first.us)) * 1e6
  }
  const teller = openTeller(context, (): Told => {
    const sizes = { bytes, ...(totalBytes === undefined ? {} : { totalBytes: Math.max(totalBytes, bytes) }) }
    const progress = { done, total, ...withRate(sizes, rate()), current: [...current] }
    return { text: renderProgress(progress), progress }
  })
  return {
    begin(name) {
      current.push(name)
      teller.touch()
    },
    finish(name) {
      done += 1
      current.splice(current.indexOf(name), 1)
      teller.touch()
    },
    add(count) {
      bytes += count
      if (count > 0) {
        arrived += count
        beat()
      }
      teller.touch()
    },
    resume(count) {
      bytes += count
      teller.touch()
    },
    stop: () => teller.stop(),
  }
}

type Sizes = Required<Pick<Progress, 'bytes'>> & Pick<Progress, 'totalBytes'>

function withRate(sizes: Sizes, bytesPerSecond: number | undefined): Omit<Progress, 'done' | 'total' | 'current'> {
  if (bytesPerSecond === undefined) return sizes
  const leftBytes = (sizes.totalBytes ?? 0) - sizes.bytes
  const known = leftBytes > 0 && bytesPerSecond > 0
  return {
    ...sizes,
    bytesPerSecond: Math.round(bytesPerSecond),
    ...(known ? { remainingMs: Math.round((leftBytes / bytesPerSecond) * 1000) } : {}),
  }
}
