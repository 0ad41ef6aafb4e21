import type { MachineState, ShortfallState, WorkerState } from '../observe/state.ts'

/** Why a status is published. */
export type UpdateType = 'initial' | 'periodic' | 'event_driven' | 'machine_ready' | 'shutdown'

/** What a worker says of itself (`worker.json` in its runtime directory). */
export interface WorkerActivity {
  readonly is_connected: boolean
  readonly status: 'idle' | 'busy' | 'disconnected'
  readonly current_job_id: string | null
  readonly last_activity: string | null
}

/** Where the health server of this machine is reached. */
export interface HubContext {
  readonly healthUrl: string
  readonly nowUs: number
  /** Activity by worker id; a worker that says nothing is disconnected. */
  readonly activity: ReadonlyMap<string, WorkerActivity>
}

/** The channel that the hub listens on for one machine. */
export function hubChannel(machineId: string): string {
  return `machine:status:${machineId}`
}

/** The status message of the hub, in the words of its existing subscribers. */
export function hubMessage(
  state: MachineState,
  updateType: UpdateType,
  context: HubContext,
): Readonly<Record<string, unknown>> {
  const byId = <T>(entry: (worker: WorkerState) => T): Record<string, T> =>
    Object.fromEntries(state.workers.map((worker) => [worker.id, entry(worker)]))
  const phase =
    updateType === 'shutdown'
      ? 'shutdown'
      : updateType === 'machine_ready' || state.phase === 'ready'
        ? 'ready'
        : 'starting'
  return {
    machine_id: state.machineId,
    timestamp: new Date(context.nowUs / 1000).toISOString(),
    update_type: updateType,
    structure: {
      gpu_count: state.gpus.length,
      capabilities: [...new Set(state.workers.flatMap((worker) => worker.services))],
      workers: byId((worker) => {
        const { id, unit, gpu, type, services } = worker
        return { worker_id: id, unit, gpu_id: gpuIndex(state, gpu), worker_type: type, services }
      }),
      services: Object.fromEntries(state.workers.flatMap((worker) => serviceEntries(state, worker))),
    },
    status: {
      machine: {
        phase,
        uptime_ms: Math.round((context.nowUs - state.startedUs) / 1000),
        ...(state.shortfalls.length === 0 ? {} : { degraded: state.shortfalls.map(toDegraded) }),
        ...loadingOf(state),
      },
      workers: byId((worker) => activityOf(state, worker, context.activity)),
      services: Object.fromEntries(state.workers.flatMap((worker) => serviceEntries(state, worker))),
    },
    health_url: context.healthUrl,
  }
}

function loadingOf({ laterModels }: MachineState): object {
  if (laterModels?.state !== 'running' || laterModels.progress === undefined) return {}
  const { done, total, bytes = null, totalBytes = null } = laterModels.progress
  return { loading: { done, total, bytes, total_bytes: totalBytes } }
}

const toDegraded = ({ code, component, unit, message }: ShortfallState): object => ({ code, component, unit, message })

function activityOf(state: MachineState, worker: WorkerState, activity: HubContext['activity']): WorkerActivity {
  const said = activity.get(worker.id)
  if (said !== undefined && activeStateOf(state, worker.unit) === 'active') return said
  return {
    is_connected: false,
    status: 'disconnected',
    current_job_id: null,
    last_activity: said?.last_activity ?? null,
  }
}

function serviceEntries(state: MachineState, worker: WorkerState): readonly (readonly [string, object])[] {
  const unit = `comfyui@${worker.gpu}.service`
  const activeState = activeStateOf(state, unit)
  const status = activeState === undefined ? 'unknown' : activeState === 'active' ? 'active' : 'inactive'
  const health = status === 'unknown' ? 'unknown' : status === 'active' ? 'healthy' : 'unhealthy'
  return worker.services.map((service) => {
    const entry = { worker_id: worker.id, service_type: service, unit, status, health }
    return [`${service}@${worker.gpu}`, entry] as const
  })
}

const activeStateOf = (state: MachineState, unit: string): string | undefined =>
  state.units.find((each) => each.name === unit)?.activeState

const gpuIndex = (state: MachineState, name: string): number => state.gpus.find((gpu) => gpu.name === name)?.index ?? -1
