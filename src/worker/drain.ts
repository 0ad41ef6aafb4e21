import type { Clock, JobSource, Notify } from '../host/ports.ts'

/** A running job may stand still this long while the worker drains; then it is returned to the queue, ms. */
const DRAIN_QUIET_MS = 120_000
const STEP_MS = 5000
const EXTEND_MS = 30_000

/** What a drain watches. */
export interface DrainPorts {
  readonly source: JobSource
  readonly notify: Notify
  readonly clock: Clock
  /** When the running job last showed progress, microseconds since the epoch. */
  readonly progressUs: () => number
  /** Aborts when the job is to be returned at once (a second SIGTERM). */
  readonly hurry: AbortSignal
}

/** Takes no new job and lets the running one finish as long as it progresses; otherwise it goes back to the queue. */
export async function drain({
  source,
  notify,
  clock,
  progressUs,
  hurry,
}: DrainPorts): Promise<'finished' | 'returned'> {
  notify.stopping()
  source.pause()
  const startUs = clock.nowUs()
  const idle = new AbortController()
  const finished = source.idle().finally(() => idle.abort())
  const stop = AbortSignal.any([idle.signal, hurry])
  while (!stop.aborted) {
    const quietMs = (clock.nowUs() - Math.max(startUs, progressUs())) / 1000
    if (quietMs > DRAIN_QUIET_MS) break
    notify.extend(EXTEND_MS)
    await clock.sleep(STEP_MS, stop)
  }
  if (idle.signal.aborted) return 'finished'
  source.abort()
  await finished
  return 'returned'
}
