import { messageOf } from '../errors.ts'
import type { Clock, SpanRecord } from '../host/ports.ts'
import type { JobAccount } from './job-account.ts'
import { countJob, type JobCounters, newCounters } from './job-counters.ts'
import { type SpanOrigin, toJobSpan } from './job-span.ts'
import { createThrottle } from './throttle.ts'

const COUNTERS_MS = 1000

/** Where the book is kept. */
export interface BookPorts {
  readonly clock: Clock
  /** Adds spans to the worker's outbox; one that rejects keeps them and writes them with those of the next call. */
  append(spans: readonly SpanRecord[]): Promise<void>
  /** Replaces the file of counters; never rejects. */
  keepCounters(counters: JobCounters): Promise<void>
  warn(message: string): void
}

/** What is told of the jobs of one worker: their spans and their counters. */
export interface JobBook {
  /** Enters a job; nothing waits for the disk, and nothing that fails there reaches the job. */
  account(account: JobAccount): void
  /** Counts spans that the outbox has given up. */
  lose(spans: number): void
  /** Resolves when everything entered so far is on disk, or could not be written. */
  flush(): Promise<void>
}

/** Opens the book of a worker, with its counters at 0 and on disk. They are written at most once a second, the last ones always. */
export function openJobBook(ports: BookPorts, origin: SpanOrigin): JobBook {
  let counters = newCounters(ports.clock.nowUs())
  let counting: Promise<void> = Promise.resolve()
  let keeping: Promise<void> = Promise.resolve()
  let isWarned = false
  const shown = createThrottle<JobCounters>(ports.clock, COUNTERS_MS, (latest) => {
    counting = counting.then(() => ports.keepCounters(latest))
  })
  const count = (next: JobCounters): void => {
    counters = next
    shown.offer(counters)
  }
  const keep = async (span: SpanRecord): Promise<void> => {
    // What became of the job goes out first.
    await nextTurn()
    await ports.append([span]).catch((error: unknown) => {
      if (!isWarned) ports.warn(`the spans of jobs cannot be written now: ${messageOf(error)}`)
      isWarned = true
    })
  }
  count(counters)
  return {
    account(account) {
      const span = toJobSpan(account, origin)
      if (span !== undefined) keeping = Promise.all([keeping, keep(span)]).then(() => undefined)
      count(countJob(counters, account))
    },
    lose: (spans) => count({ ...counters, lostSpans: counters.lostSpans + spans }),
    async flush() {
      await keeping
      shown.flush()
      await counting
    },
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
