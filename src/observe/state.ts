import type { RejectedGeneration } from '../plan/pointers.ts'
import type { Attributes, Progress, ReportedFailure } from '../report.ts'
import type { Phase } from '../steps.ts'

/** State of one step. `skipped` means a Condition said no, which systemd reports as done. */
export type StepPhase = 'pending' | 'running' | 'done' | 'skipped' | 'failed'

/** Where the machine stands. `degraded`: it was ready and a wanted unit is not active now. */
export type MachinePhase = 'starting' | 'ready' | 'degraded' | 'failed' | 'stopped'

/** One step of the current startup, as `/status` and `comfy-machine status` show it. Times: microseconds since the epoch. */
export interface StepState {
  readonly number: number
  readonly title: string
  readonly event: string
  readonly phase: Phase
  readonly state: StepPhase
  readonly startUs?: number
  readonly endUs?: number
  /** The unit whose state this step follows; the first one where there is one per GPU. */
  readonly unit?: string
  /** InvocationID of that unit when the step ended: the step's span id follows from it. */
  readonly invocationId?: string
  /** What is going on now, from the unit's STATUS= text. */
  readonly detail?: string
  /** How far it has come, while it runs and its unit tells. */
  readonly progress?: Progress
  /** Failed attempts so far. */
  readonly attempts: number
  readonly attributes: Attributes
  /** One entry per GPU for steps 13, 19 and 20. */
  readonly instances: readonly InstanceState[]
}

/** The part of a per-GPU step that belongs to one GPU. */
export interface InstanceState {
  readonly gpu: string
  readonly unit: string
  readonly state: StepPhase
  readonly startUs?: number
  readonly endUs?: number
}

/** A unit of the machine as systemd last described it. */
export interface UnitState {
  readonly name: string
  readonly activeState: string
  readonly subState: string
  readonly result: string
  readonly mainPid: number
  readonly restarts: number
  readonly statusText: string
  readonly invocationId: string
}

/** How systemd saw a unit end; absent where a failure is none of a unit. */
export interface UnitEnd {
  /** Result of the unit, systemd.exec(5) "$SERVICE_RESULT". */
  readonly result?: string
  /** Exit status of the main process, when it exited by itself. */
  readonly exitStatus?: number
  /** The signal that killed the main process, e.g. `SIGKILL`. */
  readonly exitSignal?: string
  /** The start that failed. */
  readonly invocationId?: string
  /** systemd starts the unit again by itself. */
  readonly willRestart?: true
  /** systemd was to start the unit again and does not, because that happened too often (StartLimitBurst=). */
  readonly givenUp?: true
}

/** Why the machine is not ready: one entry per failing step and unit. */
export interface FailingState extends ReportedFailure, UnitEnd {
  readonly step: number
  readonly stepName: string
  readonly unit: string
  readonly gpu?: string
  /** A command that looks closer. */
  readonly run: string
  readonly atUs: number
  readonly attempt: number
  /** The last lines of the unit's journal before it failed, oldest first. */
  readonly lines?: readonly string[]
}

/** A part of the machine that is missing, which it goes on without: COMPONENT_FAILURE_POLICY=degraded, or a model for later. */
export interface ShortfallState extends ReportedFailure {
  readonly step: number
  readonly stepName: string
  readonly unit: string
  readonly gpu?: string
  /** `custom node X`, `model Y`, `prompt`. */
  readonly component: string
  /** A command that looks closer. */
  readonly run: string
}

/** The models that are loaded after the start. Times: microseconds since the epoch. */
export interface LaterModelsState {
  readonly unit: string
  /** The run that is told of. */
  readonly invocationId: string
  /** `waiting`: it failed for a reason that may pass, and systemd starts it again. `stopped`: somebody did, before its end. */
  readonly state: 'running' | 'waiting' | 'done' | 'failed' | 'stopped'
  readonly startUs: number
  readonly endUs?: number
  /** What is going on now, from the unit's STATUS= text. */
  readonly detail?: string
  /** How far it has come, while there is something to load. */
  readonly progress?: Progress
  /** What came of it, once it has ended. */
  readonly attributes: Attributes
}

/** A GPU of the plan. */
export interface GpuState {
  readonly name: string
  readonly index: number
  readonly uuid: string | null
  readonly model: string
  readonly memoryMiB: number
  readonly mode: 'actual' | 'mock'
}

/** A worker of the plan, as the hub names it. */
export interface WorkerState {
  readonly id: string
  readonly unit: string
  readonly gpu: string
  readonly type: string
  readonly services: readonly string[]
}

/** A generation on its way to the GPUs of the machine, or back from them. */
export interface RolloutState {
  /** The generation that is rolled out. */
  readonly generation: string
  readonly direction: 'forward' | 'back'
  readonly startUs: number
  /** The GPU whose units are stopped and started now; null between two GPUs. */
  readonly gpu: string | null
  /** When its ComfyUI was last started by the rollout; null before that. */
  readonly sinceUs: number | null
  /** Every time that a GPU was moved, oldest first; the last one has no end while it goes on. */
  readonly moves: readonly RolloutMove[]
}

/** A GPU that was moved to another generation, or back. Times: microseconds since the epoch. */
export interface RolloutMove {
  readonly gpu: string
  readonly direction: 'forward' | 'back'
  readonly startUs: number
  readonly endUs?: number
}

/** What the machine runs; the pointers below `comfyui` in the workspace as the controller last read them. */
export interface GenerationsState {
  readonly current: string | null
  readonly previous: string | null
  /** The generation of each GPU, by name of the GPU. */
  readonly gpus: Readonly<Record<string, string>>
  /** The rollout that is going on. */
  readonly rollout: RolloutState | null
  /** The generation that was sent back last since the machine started, and why. */
  readonly rejected: (RejectedGeneration & { readonly generation: string }) | null
}

/** Everything `/run/comfy-machine/state.json` says: written by the controller only, replaced atomically at each change. */
export interface MachineState {
  readonly schema: 1
  readonly machineId: string
  readonly version: string
  /** InvocationID of comfy-machine.service at the begin of this startup: the trace id. */
  readonly traceId: string
  readonly bootId: string
  readonly agentPid: number
  readonly phase: MachinePhase
  /** Number of the highest step that is done without a gap of unfinished lower ones being counted: for display only. */
  readonly step: number
  readonly gpuMode: 'actual' | 'mock' | 'unknown'
  readonly workersConfig: string
  readonly healthPort: number
  readonly startedUs: number
  /** `startedUs` of CLOCK_MONOTONIC; with the boot id the same moment for every process. */
  readonly startedMonoUs: number
  readonly updatedUs: number
  /** How often the controller died during this startup, or after it, and was started again. */
  readonly restarts: number
  /** The startup before this one, when it did not end by being stopped. */
  readonly follows?: { readonly traceId: string; readonly reason: string }
  /** Spans that were given up undelivered since the machine was installed. */
  readonly lostSpans: number
  readonly readyUs?: number
  readonly steps: readonly StepState[]
  readonly units: readonly UnitState[]
  readonly gpus: readonly GpuState[]
  readonly workers: readonly WorkerState[]
  readonly failing: readonly FailingState[]
  /** What the machine goes on without, while the unit that told is up; its phase is `ready` all the same. */
  readonly shortfalls: readonly ShortfallState[]
  /** Absent until they are first loaded: most machines have none. */
  readonly laterModels?: LaterModelsState
  /** Failed attempts of this startup and since, oldest first; the latest of them. */
  readonly attempts: readonly FailingState[]
  readonly warnings: readonly string[]
  /** Versions and component evidence: comfyui commit, python, nodes and models with their pins. */
  readonly evidence: Attributes
  /** Absent until the pointers are read: before its first installation a machine has none. */
  readonly generations?: GenerationsState
}
