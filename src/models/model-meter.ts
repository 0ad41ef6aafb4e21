import { createHeartbeat, type InstallContext } from '../install/context.ts'
import { openTeller, type Told } from '../install/teller.ts'
import type { FileProgress, Progress } from '../report.ts'
import { renderProgress } from './model-plan.ts'
import { Pace } from './pace.ts'

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
  readonly pace: Pace
}

/** A meter over `total` models; bytes move the deadline of the start and call `onBytes`, silence does not. */
export function createMeter(context: InstallContext, total: number, onBytes = (): void => undefined): Meter {
  const { clock } = context.host
  const beat = createHeartbeat(context.host)
  const current = new Set<Counted>()
  const whole = new Pace(clock.nowUs())
  let done = 0
  const teller = openTeller(context, (): Told => {
    const nowUs = clock.nowUs()
    const shown = [...current].slice(0, MOST_SHOWN)
    const names = shown.map(({ name }) => name)
    const files = shown.map(({ name, pace }): FileProgress => ({ name, ...pace.read(nowUs) }))
    const all: Progress = { done, total, ...whole.read(nowUs), current: names }
    const progress = files.length === 0 ? all : { ...all, files }
    return { text: renderProgress(progress), progress }
  })
  return {
    expect(all) {
      whole.expect(all)
      teller.touch()
    },
    begin(name, size) {
      const pace = new Pace(clock.nowUs(), size)
      const file: Counted = { name, pace }
      current.add(file)
      teller.touch()
      return {
        add(count) {
          for (const each of [whole, pace]) each.add(count)
          if (count > 0) {
            beat()
            onBytes()
          }
          teller.touch()
        },
        resume(count) {
          for (const each of [whole, pace]) each.resume(count)
          teller.touch()
        },
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
