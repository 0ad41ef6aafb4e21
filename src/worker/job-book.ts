import type { Clock, SpanRecord } from '../host/ports.ts'
import type { JobAccount } from './job-account.ts'
import { countJob, type JobCounters, newCounters } from './job-counters.ts'
import { type SpanOrigin, toJobSpan } from './job-span.ts'
import { openSpanKeeper } from './keep-spans.ts'
import { createThrottle } from './throttle.ts'

const COUNTERS_MS = 1000

/** Where the book is kept. */
export interface BookPorts {
  readonly clock: Clock
  /** Adds spans to the worker's outbox. */
  append(spans: readonly SpanRecord[]): Promise<void>
  /** Replaces the file of counters; never rejects. */
  keepCounters(counters: JobCounters): Promise<void>
  warn(message: string): void
}

/** What is told of the jobs of one worker: their spans and their counters. */
export interface JobBook {
  /** Enters a job; nothing waits for the disk, and nothing that fails there reaches the job. */
  account(account: JobAccount): void
  /** Resolves when everything entered so far is on disk or lost. */
  flush(): Promise<void>
}

/** Opens the book of a worker, with its counters at 0 and on disk. They are written at most once a second, the last ones always. */
export function openJobBook(ports: BookPorts, origin: SpanOrigin): JobBook {
  let counters = newCounters(ports.clock.nowUs())
  let writing: Promise<void> = Promise.resolve()
  const shown = createThrottle<JobCounters>(ports.clock, COUNTERS_MS, (latest) => {
    writing = writing.then(() => ports.keepCounters(latest))
  })
  const count = (next: JobCounters): void => {
    counters = next
    shown.offer(counters)
  }
  const keeper = openSpanKeeper({
    append: ports.append,
    lost(lost, reason) {
      if (counters.lostSpans === 0) ports.warn(`spans of jobs are lost from now on: ${reason}`)
      count({ ...counters, lostSpans: counters.lostSpans + lost })
    },
  })
  count(counters)
  return {
    account(account) {
      const span = toJobSpan(account, origin)
      if (span !== undefined) keeper.keep(span)
      count(countJob(counters, account))
    },
    async flush() {
      await keeper.flush()
      shown.flush()
      await writing
    },
  }
}
