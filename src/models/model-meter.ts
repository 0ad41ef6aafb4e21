import { createHeartbeat, type InstallContext } from '../install/context.ts'
import { openTeller, type Told } from '../install/teller.ts'
import type { FileProgress, Progress } from '../report.ts'
import { renderProgress } from './model-plan.ts'

/** The rate is that of so many microseconds before now. */
const WINDOW_US = 5_000_000
const MOST_SHOWN = 8

/** Counts what arrives of one file. */
export interface FileMeter {
  /** Bytes that arrived, or negative ones that do not count any more. */
  readonly add: (count: number) => void
  /** Bytes that were there before: they count, but nobody waited for them. */
  readonly resume: (count: number) => void
  readonly finish: () => void
}

/** Counts bytes and models, and tells how far it is. */
export interface Meter {
  /** Bytes in all; undefined where one of the sizes is not known. */
  readonly expect: (totalBytes: number | undefined) => void
  /** A file is worked on, of `totalBytes` where that is known. */
  readonly begin: (name: string, totalBytes?: number) => FileMeter
  /** So many models are as they should be, or have failed. */
  readonly count: (models: number) => void
  readonly stop: () => void
}

interface Counted {
  readonly name: string
  readonly totalBytes: number | undefined
  bytes: number
}

/** A meter over `total` models; bytes move the deadline of the start and call `onBytes`, silence does not. */
export function createMeter(context: InstallContext, total: number, onBytes = (): void => undefined): Meter {
  const { clock } = context.host
  const beat = createHeartbeat(context.host)
  const current = new Set<Counted>()
  let totalBytes: number | undefined
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
    const shown = [...current].slice(0, MOST_SHOWN)
    const names = shown.map(({ name }) => name)
    const files = shown.length === 0 ? {} : { files: shown.map(toFile) }
    const progress = { done, total, ...withRate(sizes, rate()), current: names, ...files }
    return { text: renderProgress(progress), progress }
  })
  const take = (file: Counted, count: number): void => {
    file.bytes += count
    bytes += count
    teller.touch()
  }
  return {
    expect(all) {
      totalBytes = all
      teller.touch()
    },
    begin(name, size) {
      const file: Counted = { name, totalBytes: size, bytes: 0 }
      current.add(file)
      teller.touch()
      return {
        add(count) {
          if (count > 0) {
            arrived += count
            beat()
            onBytes()
          }
          take(file, count)
        },
        resume: (count) => take(file, count),
        finish: () => void current.delete(file),
      }
    },
    count(models) {
      done += models
      teller.touch()
    },
    stop: () => teller.stop(),
  }
}

function toFile({ name, bytes, totalBytes }: Counted): FileProgress {
  return { name, bytes, ...(totalBytes === undefined ? {} : { totalBytes: Math.max(totalBytes, bytes) }) }
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
