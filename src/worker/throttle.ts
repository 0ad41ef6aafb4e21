import type { Clock } from '../host/ports.ts'

/** Lets values through at most once per interval, and always the last one. */
export interface Throttle<T> {
  offer(value: T): void
  /** Sends what is held back at once. Drops it where the first value is held and none has gone yet: it was over before that. */
  flush(): void
}

/**
 * A throttle that calls `send` at most once per `intervalMs`; a value held back is sent when the interval is over.
 * `first`: whether the first value goes at once, or waits for an interval as well (for what may be over before that).
 */
export function createThrottle<T>(
  clock: Clock,
  intervalMs: number,
  send: (value: T) => void,
  first: 'at-once' | 'held' = 'at-once',
): Throttle<T> {
  let sentUs = first === 'held' ? clock.nowUs() : Number.NEGATIVE_INFINITY
  let isDue = first === 'at-once'
  let held: { readonly value: T } | undefined
  let waiting: AbortController | undefined

  const release = (): void => {
    waiting?.abort('over')
    waiting = undefined
    if (held === undefined) return
    const { value } = held
    held = undefined
    isDue = true
    sentUs = clock.nowUs()
    send(value)
  }

  const wait = async (ms: number): Promise<void> => {
    const mine = new AbortController()
    waiting = mine
    await clock.sleep(ms, mine.signal)
    if (waiting === mine) release()
  }

  return {
    offer(value) {
      held = { value }
      if (waiting !== undefined) return
      const leftMs = intervalMs - (clock.nowUs() - sentUs) / 1000
      if (leftMs <= 0) release()
      else void wait(leftMs)
    },
    flush() {
      if (!isDue) held = undefined
      release()
    },
  }
}
