import type { Progress } from '../report.ts'
import { type InstallContext, PROGRESS_MS, writeProgress } from './context.ts'

const PERIOD_MS = 1_000

/** How far the work is, in words and in numbers. */
export interface Told {
  readonly text: string
  readonly progress: Progress
}

/** Tells how far the work is while it goes on: progress file first, then STATUS=. */
export interface Teller {
  /** Something changed: told at once, but at most once a second. */
  touch(): void
  /** Another stretch of work begins: told at once, and the deadline of the start moves. */
  begin(): void
  /** Tells a last time. */
  stop(): void
}

/** A teller of what `describe` says. It also tells once a second by itself, so that a rate falls when nothing comes. */
export function openTeller(context: InstallContext, describe: () => Told): Teller {
  const { clock, notify } = context.host
  const ended = new AbortController()
  let toldUs = Number.NEGATIVE_INFINITY
  const tell = (): void => {
    toldUs = clock.nowUs()
    const { text, progress } = describe()
    writeProgress(context, progress)
    notify.status(text)
  }
  const touch = (): void => {
    if (clock.nowUs() - toldUs >= PERIOD_MS * 1000) tell()
  }
  const tick = async (): Promise<void> => {
    while (!ended.signal.aborted) {
      await clock.sleep(PERIOD_MS, ended.signal)
      if (!ended.signal.aborted) touch()
    }
  }
  void tick()
  return {
    touch,
    begin() {
      tell()
      notify.extend(PROGRESS_MS)
    },
    stop() {
      ended.abort()
      tell()
    },
  }
}
