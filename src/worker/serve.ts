import type { ComfySocket, JobSource, Notify, QueuedJob } from '../host/ports.ts'
import { drain } from './drain.ts'
import type { JobAccount } from './job-account.ts'
import { jobFields, type NewId, openJobTrace } from './job-trace.ts'
import { type JobPorts, processJob } from './process-job.ts'
import { describeWorker, toWorkerStatus, type WorkerFacts, type WorkerStatus } from './status.ts'
import { createThrottle } from './throttle.ts'

const STATUS_MS = 250

/** What a worker that holds Redis and ComfyUI needs to serve jobs. */
export interface ServePorts extends JobPorts {
  readonly source: JobSource
  readonly socket: ComfySocket
  readonly notify: Notify
  readonly queues: readonly string[]
  /** Keeps the status where the hub's publisher reads it. */
  readonly keepStatus: (status: WorkerStatus) => void
  /** Told of each job that this worker is done with, just before its outcome goes to the queue; takes no time. */
  readonly account: (account: JobAccount) => void
  readonly newId: NewId
  /** Aborts when the worker is to stop. */
  readonly stop: AbortSignal
  /** Aborts when the running job is to be returned at once. */
  readonly hurry: AbortSignal
}

/** Says READY=1, serves jobs until `stop`, drains. Takes no job while ComfyUI is gone. */
export async function serve(ports: ServePorts): Promise<void> {
  const { source, socket, notify, journal, clock, queues } = ports
  let facts: WorkerFacts = {
    hasRedis: source.isConnected(),
    hasComfyUI: socket.isUp(),
    jobId: null,
    lastActivityUs: clock.nowUs(),
    isDraining: false,
  }
  const shown = createThrottle<WorkerFacts>(clock, STATUS_MS, (latest) => {
    ports.keepStatus(toWorkerStatus(latest))
    notify.status(describeWorker(latest, queues))
  })
  const change = (news: Partial<WorkerFacts>): void => {
    facts = { ...facts, ...news }
    shown.offer(facts)
  }
  let fields: Readonly<Record<string, string>> = {}
  const process = async (job: QueuedJob, signal: AbortSignal) => {
    const trace = openJobTrace(job, ports.newId)
    fields = jobFields(job.id, trace)
    change({ jobId: job.id, lastActivityUs: clock.nowUs() })
    const watched: QueuedJob = {
      ...job,
      progress(progress) {
        facts = { ...facts, lastActivityUs: clock.nowUs() }
        job.progress(progress)
      },
    }
    const account = await processJob(ports, watched, trace, signal)
    ports.account(account)
    change({ jobId: null, lastActivityUs: clock.nowUs() })
    return account.outcome
  }

  source.onConnection((hasRedis) => {
    if (hasRedis === facts.hasRedis) return
    if (hasRedis) journal.write({ message: 'Redis is back', priority: 'notice' })
    else journal.write({ message: 'the connection to Redis is lost; reconnecting', priority: 'warning' })
    change({ hasRedis })
  })
  const stopFollowing = socket.follow((event) => {
    if (event.kind === 'message') return
    const hasComfyUI = event.kind === 'up'
    if (hasComfyUI) journal.write({ message: 'ComfyUI is back', priority: 'notice' })
    else journal.write({ message: `the connection to ComfyUI is lost: ${event.reason}`, priority: 'warning' })
    if (!hasComfyUI) source.pause()
    else if (!facts.isDraining) source.resume()
    change({ hasComfyUI })
  })

  journal.write({ message: `takes jobs of ${queues.join(', ')}`, priority: 'info' })
  notify.ready()
  change({})
  if (!facts.hasComfyUI) source.pause()
  source.start(process)
  await aborted(ports.stop)
  change({ isDraining: true })
  const { jobId } = facts
  const ofJob = fields
  const end = await drain({ source, notify, clock, progressUs: () => facts.lastActivityUs, hurry: ports.hurry })
  if (jobId !== null) {
    const message =
      end === 'finished' ? `job ${jobId} finished before the stop` : `job ${jobId} is returned to the queue`
    journal.write({ message, priority: 'notice', fields: ofJob })
  }
  stopFollowing()
  change({ hasRedis: false, hasComfyUI: false })
  shown.flush()
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
