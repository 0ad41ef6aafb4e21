import type { JobOutcome } from '../host/ports.ts'
import type { JobAccount } from './job-account.ts'

/** Name of the file of counters within `$RUNTIME_DIRECTORY`; they begin at 0 with each process. */
export const JOB_COUNTERS_FILE = 'metrics.json'

/** Upper bounds of the buckets of job durations, seconds: an image takes seconds, a video may take half an hour. */
const BOUNDS_S = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800] as const

/** Observations as a histogram has them. */
export interface Distribution {
  readonly sum: number
  readonly count: number
  /** Observations up to and including each bound, so each bucket holds the ones before it; that of +Inf is `count`. */
  readonly buckets: readonly { readonly le: number; readonly count: number }[]
}

/** What one worker has done since its process began. */
export interface JobCounters {
  /** When the counting began, microseconds since the epoch. */
  readonly sinceUs: number
  readonly jobs: Readonly<Record<JobOutcome['kind'], number>>
  /** Seconds that the jobs took which completed or failed. */
  readonly duration: Distribution
  /** Bytes of the files that the jobs made. */
  readonly outputBytes: number
  /** Spans of jobs that were given up because the disk was full. */
  readonly lostSpans: number
}

/** The counters of a process that has just begun. */
export function newCounters(sinceUs: number): JobCounters {
  const buckets = BOUNDS_S.map((le) => ({ le, count: 0 }))
  const jobs = { completed: 0, failed: 0, returned: 0 }
  return { sinceUs, jobs, duration: { sum: 0, count: 0, buckets }, outputBytes: 0, lostSpans: 0 }
}

/** Counts one job. A returned one is not over, so that its time is none of a job. */
export function countJob(counters: JobCounters, account: JobAccount): JobCounters {
  const { kind } = account.outcome
  const seconds = (account.endUs - account.startUs) / 1e6
  return {
    ...counters,
    jobs: { ...counters.jobs, [kind]: counters.jobs[kind] + 1 },
    duration: kind === 'returned' ? counters.duration : observe(counters.duration, seconds),
    outputBytes: counters.outputBytes + account.outputBytes,
  }
}

function observe({ sum, count, buckets }: Distribution, value: number): Distribution {
  return {
    sum: sum + value,
    count: count + 1,
    buckets: buckets.map((bucket) => (value <= bucket.le ? { ...bucket, count: bucket.count + 1 } : bucket)),
  }
}
