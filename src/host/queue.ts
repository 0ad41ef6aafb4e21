import { type Job, UnrecoverableError, WaitingError, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import type { JobOutcome, JobSource, QueuedJob } from './ports.ts'
import { closeRedis } from './redis.ts'

const LOCK_MS = 30_000
const CLOSE_MS = 5000

type Process = (job: QueuedJob, signal: AbortSignal) => Promise<JobOutcome>

/** BullMQ queues on one Redis connection as a source of jobs. `onError` hears what BullMQ recovers from by itself. */
export async function openJobSource(
  redis: Redis,
  workerId: string,
  queues: readonly string[],
  onError: (message: string) => void,
): Promise<JobSource> {
  let processJob: Process | undefined
  let running: { readonly done: Promise<unknown>; readonly abort: () => void } | undefined
  let isPaused = false

  const take = async (worker: Worker, job: Job, token: string, lost: AbortSignal): Promise<unknown> => {
    if (running !== undefined || isPaused || processJob === undefined) return giveBack(worker, job, token)
    const given = new AbortController()
    const outcome = processJob(queuedJob(job, worker.name, onError), AbortSignal.any([lost, given.signal]))
    running = { done: outcome, abort: () => given.abort() }
    for (const other of workers) if (other !== worker) pauseWorker(other)
    try {
      return await settle(worker, job, token, await outcome)
    } finally {
      running = undefined
      if (!isPaused) for (const each of workers) void each.resume()
    }
  }

  const giveBack = async (worker: Worker, job: Job, token: string): Promise<never> => {
    pauseWorker(worker)
    await job
      .moveToWait(token)
      .catch((error: Error) => onError(`job ${job.id} could not be returned: ${error.message}`))
    throw new WaitingError()
  }

  const settle = (worker: Worker, job: Job, token: string, outcome: JobOutcome): unknown => {
    if (outcome.kind === 'completed') return outcome.value
    if (outcome.kind === 'returned') return giveBack(worker, job, token)
    throw outcome.isRetriable ? new Error(outcome.message) : new UnrecoverableError(outcome.message)
  }

  const workers: Worker[] = queues.map((queue) => {
    const worker: Worker = new Worker(
      queue,
      (job: Job, token?: string, signal?: AbortSignal) =>
        take(worker, job, token ?? '', signal ?? new AbortController().signal),
      { connection: redis, name: workerId, concurrency: 1, lockDuration: LOCK_MS, autorun: false },
    )
    worker.on('error', (error) => {
      if (redis.status === 'ready') onError(error.message)
    })
    worker.on('lockRenewalFailed', (ids) => {
      for (const id of ids) worker.cancelJob(id, 'the job is no longer held by this worker')
    })
    return worker
  })
  await Promise.all(workers.map((worker) => worker.waitUntilReady()))

  return {
    start(process) {
      processJob = process
      for (const worker of workers) worker.run().catch((error: Error) => onError(error.message))
    },
    pause() {
      isPaused = true
      for (const worker of workers) pauseWorker(worker)
    },
    resume() {
      isPaused = false
      for (const worker of workers) void worker.resume()
    },
    abort: () => running?.abort(),
    async idle() {
      await running?.done
    },
    isConnected: () => redis.status === 'ready',
    onConnection(listener) {
      redis.on('close', () => listener(false))
      redis.on('ready', () => listener(true))
    },
    async close() {
      const isConnected = redis.status === 'ready'
      const closing = Promise.all(workers.map((worker) => worker.close(!isConnected)))
      await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, CLOSE_MS).unref())])
      await closeRedis(redis)
    },
  }
}

function pauseWorker(worker: Worker): void {
  void worker.pause(true)
}

function queuedJob(job: Job, queue: string, onError: (message: string) => void): QueuedJob {
  const telemetry = job.opts.telemetry?.metadata
  return {
    id: job.id ?? '',
    queue,
    data: job.data,
    ...(telemetry === undefined ? {} : { telemetry }),
    attempt: job.attemptsMade + 1,
    progress(progress) {
      job.updateProgress({ ...progress }).catch((error: Error) => onError(`progress of ${job.id}: ${error.message}`))
    },
  }
}
