/** Where the controller keeps what is known of this startup; gone at reboot. */
export const RUN_DIRECTORY = '/run/comfy-machine'

/** The plan of the machine, for the units' processes. */
export const PLAN_FILE = `${RUN_DIRECTORY}/plan.json`

/** Where comfy-sandbox.socket listens: each connection runs one program, see `src/host/sandbox.ts`. */
export const SANDBOX_SOCKET = `${RUN_DIRECTORY}/sandbox.sock`

/** The unit that brings the models which may come after the start, once the machine is ready. */
export const LATER_MODELS = 'comfy-load-models.service'

/** Where other machines ask this one for models. */
export const SHARE_SOCKET = 'comfy-share-models.socket'

/** Where spans are kept until they are delivered and, for `comfy-machine trace`, some time after; bounded. */
export const TELEMETRY_DIRECTORY = '/var/lib/comfy-machine/telemetry'

/** A GPU that the machine uses. `name` (`gpu0`) is the instance name of its units. */
export interface PlannedGpu {
  readonly name: string
  readonly index: number
  /** `GPU-…` or `MIG-…`; null in mock mode. */
  readonly uuid: string | null
  readonly pciBusId: string | null
  /** Device minor (`/dev/nvidiaN`), null in mock mode. */
  readonly minor: number | null
  readonly numaNode: number | null
  readonly model: string
  readonly memoryMiB: number
}

/** One ComfyUI process. */
export interface PlannedInstance {
  readonly gpu: string
  readonly unit: string
  readonly listen: string
  readonly port: number
  /** Extra arguments of COMFY_ARGS, already split. */
  readonly args: readonly string[]
}

/** One Redis worker process. */
export interface PlannedWorker {
  readonly id: string
  readonly unit: string
  readonly gpu: string
  readonly type: string
  readonly services: readonly string[]
  /** BullMQ queues this worker takes jobs from. */
  readonly queues: readonly string[]
  /** Base URL of its ComfyUI, e.g. `http://127.0.0.1:8188`. */
  readonly comfyuiUrl: string
}

/** Where ComfyUI comes from. `ref` null: the latest release tag, resolved once and locked. */
export interface ComfyUISource {
  readonly repoUrl: string
  readonly ref: string | null
  /** Seconds ComfyUI may take from exec to its first answer without any sign of life. */
  readonly startTimeoutS: number
}

/** What the discovery asks the component API for. */
export interface ComponentRequest {
  /** Base URL without a trailing slash; null when the machine wants no components from an API. */
  readonly apiUrl: string | null
  readonly workflows: readonly string[]
  readonly collections: readonly string[]
  readonly staleOk: boolean
  readonly allowInsecureSources: boolean
  /** strict: a node or model that fails fails the start. degraded: the machine goes on without it. */
  readonly failurePolicy: 'strict' | 'degraded'
  /** A machine.lock.json that takes the place of the component API. */
  readonly lockFile: string | null
}

/** How Python packages are installed. */
export interface PythonPlan {
  readonly installer: 'uv' | 'pip'
  /** Build of torch that packages are held to, as `uv --torch-backend` names it; null when the package indexes decide. */
  readonly torchBackend: string | null
}

/** Where models come from beside their origin, how much of the network they may take, and where others get them from. */
export interface ModelsPlan {
  /** Base URLs of mirrors and peers without a trailing slash, in the order in which they are tried. */
  readonly sources: readonly string[]
  readonly connections: number
  readonly connectionsPerHost: number
  /** Bytes per second in all; null for no limit. */
  readonly rateLimit: number | null
  /** Port on which this machine gives its models to others; null for none. */
  readonly sharePort: number | null
}

/** How custom nodes are set up and run. */
export interface NodePlan {
  readonly scriptTimeoutS: number
  /** They may write into their own directories while ComfyUI runs. */
  readonly writable: boolean
}

/** Directories of the machine; absolute paths. */
export interface MachinePaths {
  readonly workspace: string
  readonly models: string
  readonly cache: string
  readonly run: string
}

/**
 * What this machine is to be: the one document that the controller renders units from and that unit processes read
 * (`/run/comfy-machine/plan.json`, 0644). It holds names of secrets, never their values.
 */
export interface MachinePlan {
  readonly schema: 1
  readonly version: string
  readonly machineId: string
  readonly traceId: string
  readonly gpuMode: 'actual' | 'mock'
  /** WORKERS as written. */
  readonly workersConfig: string
  readonly paths: MachinePaths
  readonly gpus: readonly PlannedGpu[]
  readonly comfyui: ComfyUISource
  readonly instances: readonly PlannedInstance[]
  readonly workers: readonly PlannedWorker[]
  readonly components: ComponentRequest
  readonly python: PythonPlan
  readonly nodes: NodePlan
  readonly models: ModelsPlan
  readonly health: { readonly port: number }
  /** Every public variable of machine.env: what a custom node's env may name, PIP_*, UV_*, proxies, OTEL_*. */
  readonly environment: Readonly<Record<string, string>>
  /** Names of the variables that exist as secrets. */
  readonly secretNames: readonly string[]
}
