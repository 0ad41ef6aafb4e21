import type { MachineConfig } from '../config/load-config.ts'
import type { ResolvedMapping } from '../config/resolve-mapping.ts'
import { UPSTREAM_COMFYUI } from '../config/variables.ts'
import type { GpuChoice } from '../detect/choose-gpus.ts'
import { MachineError } from '../errors.ts'
import type { MachinePlan, PlannedGpu, PlannedInstance, PlannedWorker } from './plan.ts'

/** What identifies the start a plan is made for. */
export interface PlanIdentity {
  /** Version of comfy-machine. */
  readonly version: string
  /** InvocationID of comfy-machine.service, 32 hex digits. */
  readonly traceId: string
}

/** Directories that no variable moves. */
const CACHE = '/var/cache/comfy-machine'
const RUN = '/run/comfy-machine'
const DEFAULT_BASE_PORT = 8188

/**
 * Makes the plan of one machine start: an instance and a worker for each GPU. Equal input makes an equal plan. Throws
 * CM0302 when a port does not exist or is wanted twice.
 */
export function planMachine(
  config: MachineConfig,
  mapping: ResolvedMapping,
  hardware: Pick<GpuChoice, 'gpus' | 'torch'>,
  identity: PlanIdentity,
): MachinePlan {
  const planned = hardware.gpus.map((gpu, index): PlannedGpu => ({ name: `gpu${index}`, index, ...gpu }))
  const instances = planned.map((gpu) => planInstance(gpu, config, mapping))
  return {
    schema: 1,
    version: identity.version,
    machineId: config.machineId,
    traceId: identity.traceId,
    gpuMode: config.gpuMode,
    workersConfig: config.workersConfig,
    paths: { workspace: config.workspace, models: config.models, cache: CACHE, run: RUN },
    gpus: planned,
    comfyui: {
      repoUrl: config.comfyui.repoUrl ?? mapping.comfyui.repoUrl ?? UPSTREAM_COMFYUI,
      ref: config.comfyui.ref ?? mapping.comfyui.ref,
      startTimeoutS: config.comfyui.startTimeoutS,
    },
    instances,
    workers: planWorkers(config, mapping, instances),
    components: {
      apiUrl: config.apiUrl,
      workflows: config.workflows,
      collections: config.collections,
      staleOk: config.staleOk,
      allowInsecureSources: config.allowInsecureSources,
      failurePolicy: config.failurePolicy,
      lockFile: config.lockFile,
    },
    python: { ...config.python, torchBackend: hardware.torch.backend },
    nodes: config.nodes,
    models: config.modelDownloads,
    health: { port: config.healthPort },
    environment: config.environment,
    secretNames: [...config.secrets.keys()].sort(),
  }
}

function planInstance(gpu: PlannedGpu, config: MachineConfig, mapping: ResolvedMapping): PlannedInstance {
  const base = config.comfyui.basePort ?? mapping.comfyui.basePort ?? DEFAULT_BASE_PORT
  const port = base + gpu.index * mapping.comfyui.portIncrement
  if (port > 65535) {
    throw new MachineError('CM0302', `COMFYUI_BASE_PORT=${base} leaves no port for ${gpu.name}: ${port} is above 65535`)
  }
  const taken = otherPorts(config).find((other) => other.port === port)
  if (taken !== undefined) {
    throw new MachineError('CM0302', `the ComfyUI of ${gpu.name} and ${taken.what} would both listen on port ${port}`, {
      hint: `Move COMFYUI_BASE_PORT or ${taken.variable}.`,
    })
  }
  const unit = `comfyui@${gpu.name}.service`
  return { gpu: gpu.name, unit, listen: config.comfyui.listen, port, args: config.comfyui.args }
}

function otherPorts({ healthPort, modelDownloads }: MachineConfig) {
  return [
    { port: healthPort, what: 'the health server', variable: 'MACHINE_HEALTH_PORT' },
    { port: modelDownloads.sharePort, what: 'the models for other machines', variable: 'MODEL_SHARE_PORT' },
  ]
}

/** The types of WORKERS take the GPUs in turn; the one with auto takes those that no other asks for. */
function planWorkers(
  config: MachineConfig,
  mapping: ResolvedMapping,
  instances: readonly PlannedInstance[],
): readonly PlannedWorker[] {
  const fixed = mapping.workers.reduce((sum, { count }) => sum + (count === 'auto' ? 0 : count), 0)
  const types = mapping.workers.flatMap((worker) => {
    const count = worker.count === 'auto' ? Math.max(0, instances.length - fixed) : worker.count
    return Array.from({ length: count }, () => worker)
  })
  return instances.flatMap((instance, index): readonly PlannedWorker[] => {
    const worker = types[index]
    if (worker === undefined) return []
    return [
      {
        id: `${config.machineId}-worker-comfyui-${index}`,
        unit: `redis-worker@${instance.gpu}.service`,
        gpu: instance.gpu,
        type: worker.type,
        services: worker.services,
        queues: worker.queues,
        comfyuiUrl: `http://${reachableHost(instance.listen)}:${instance.port}`,
      },
    ]
  })
}

/** Where a program on this host reaches something that listens on `listen`. */
function reachableHost(listen: string): string {
  if (listen === '0.0.0.0') return '127.0.0.1'
  if (listen === '::') return '[::1]'
  return listen.includes(':') ? `[${listen}]` : listen
}
