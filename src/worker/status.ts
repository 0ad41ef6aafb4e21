/** What the hub is told of a worker (`$RUNTIME_DIRECTORY/worker.json`); the wire names of the machine status. */
export interface WorkerStatus {
  readonly is_connected: boolean
  readonly status: 'idle' | 'busy' | 'disconnected'
  readonly current_job_id: string | null
  /** ISO 8601. */
  readonly last_activity: string
}

/** Name of the status file within `$RUNTIME_DIRECTORY`. */
export const WORKER_STATUS_FILE = 'worker.json'

/** What a worker knows of itself. */
export interface WorkerFacts {
  readonly hasRedis: boolean
  readonly hasComfyUI: boolean
  readonly jobId: string | null
  readonly lastActivityUs: number
  readonly isDraining: boolean
}

/** The facts as the hub's status. */
export function toWorkerStatus(facts: WorkerFacts): WorkerStatus {
  const isConnected = facts.hasRedis && facts.hasComfyUI
  const work = facts.jobId === null ? 'idle' : 'busy'
  return {
    is_connected: isConnected,
    status: isConnected ? work : 'disconnected',
    current_job_id: facts.jobId,
    last_activity: new Date(facts.lastActivityUs / 1000).toISOString(),
  }
}

/** The facts as one line for `systemctl status`. */
export function describeWorker(facts: WorkerFacts, queues: readonly string[]): string {
  const missing = [facts.hasRedis ? [] : ['Redis'], facts.hasComfyUI ? [] : ['ComfyUI']].flat()
  if (missing.length > 0) {
    const job = facts.jobId === null ? '' : `; job ${facts.jobId} runs`
    return `lost ${missing.join(' and ')}, reconnecting${job}`
  }
  if (facts.isDraining) return facts.jobId === null ? 'drained' : `draining: finishing job ${facts.jobId}`
  return facts.jobId === null ? `waiting for jobs of ${queues.join(', ')}` : `job ${facts.jobId} runs`
}
