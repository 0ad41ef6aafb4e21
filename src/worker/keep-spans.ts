import { messageOf } from '../errors.ts'
import type { SpanRecord } from '../host/ports.ts'

/** While the disk is slow so many spans wait; a job takes longer than a write, so more are never there by themselves. */
const MOST_WAITING = 1000

/** What the keeping of spans needs. */
export interface KeepPorts {
  append(spans: readonly SpanRecord[]): Promise<void>
  /** Told of spans that are lost, and why. */
  lost(count: number, reason: string): void
}

/** Keeps spans without anybody waiting for it. */
export interface SpanKeeper {
  keep(span: SpanRecord): void
  /** Resolves when everything handed in so far is kept or lost. */
  flush(): Promise<void>
}

/** Writes one batch at a time; what comes meanwhile is written together after it. A failure loses a batch and nothing else. */
export function openSpanKeeper(ports: KeepPorts): SpanKeeper {
  let waiting: SpanRecord[] = []
  let writing: Promise<void> | undefined
  const write = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting
      waiting = []
      await ports.append(batch).catch((error: unknown) => ports.lost(batch.length, messageOf(error)))
    }
    writing = undefined
  }
  return {
    keep(span) {
      if (waiting.length >= MOST_WAITING) return ports.lost(1, `${MOST_WAITING} spans wait for the disk`)
      waiting.push(span)
      // What became of the job goes out first.
      writing ??= nextTurn().then(write)
    },
    flush: async () => writing,
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
