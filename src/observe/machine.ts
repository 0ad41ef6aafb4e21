import type { UnitSnapshot } from '../host/ports.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { ReportChild, ReportedFailure } from '../report.ts'
import { STEPS } from '../steps.ts'
import type {
  FailingState,
  InstanceState,
  LaterModelsState,
  MachinePhase,
  MachineState,
  ShortfallState,
  StepState,
} from './state.ts'
import { gpuOfUnit } from './unit-steps.ts'

/**
 * How far a wanted unit has come in this startup. `blocked`: its start job ended without a start. `finished`: it ran, ended
 * well and did not stay, as a oneshot without RemainAfterExit= does.
 */
export type UnitOutcome = 'pending' | 'active' | 'finished' | 'skipped' | 'failed' | 'blocked'

/** The machine as the controller follows it: what others may read, and what the fold must remember. */
export interface Machine {
  readonly state: MachineState
  /** Outcome of every wanted unit. */
  readonly outcomes: ReadonlyMap<string, UnitOutcome>
  readonly snapshots: ReadonlyMap<string, UnitSnapshot>
  /** The invocation of each unit that is recorded as a failed attempt: an invocation fails once. */
  readonly recordedFailures: ReadonlyMap<string, string>
}

/** What the fold found out, in the order in which it happened. */
export type Happening =
  | {
      readonly kind: 'step-ended'
      readonly step: StepState
      readonly unit: UnitSnapshot | undefined
      readonly children: readonly ReportChild[]
      readonly attempts: readonly FailingState[]
    }
  | {
      readonly kind: 'attempt-failed'
      readonly failing: FailingState
      readonly startUs: number
      readonly afterReady: boolean
    }
  | { readonly kind: 'instance-ended'; readonly step: StepState; readonly instance: InstanceState }
  | { readonly kind: 'recovered'; readonly failing: FailingState; readonly atUs: number }
  | { readonly kind: 'shortfall'; readonly shortfall: ShortfallState }
  | { readonly kind: 'later-models-begun'; readonly loading: LaterModelsState }
  | {
      readonly kind: 'later-models-ended'
      readonly loading: LaterModelsState
      readonly unit: UnitSnapshot
      readonly children: readonly ReportChild[]
      /** Why it failed, where it did. */
      readonly failure?: ReportedFailure
    }
  | { readonly kind: 'phase-changed'; readonly phase: MachinePhase }

/** Facts that are known before any step. */
export interface Identity {
  readonly machineId: string
  readonly version: string
  readonly traceId: string
  readonly bootId: string
  readonly agentPid: number
  readonly startedUs: number
  readonly startedMonoUs: number
}

/** The machine at the first moment of a startup. */
export function newMachine(identity: Identity): Machine {
  const state: MachineState = {
    schema: 1,
    ...identity,
    phase: 'starting',
    step: 0,
    gpuMode: 'unknown',
    workersConfig: '',
    healthPort: 9090,
    updatedUs: identity.startedUs,
    restarts: 0,
    lostSpans: 0,
    steps: STEPS.map(({ number, title, event, phase }) => {
      return { number, title, event, phase, state: 'pending', attempts: 0, attributes: {}, instances: [] }
    }),
    units: [],
    gpus: [],
    workers: [],
    failing: [],
    shortfalls: [],
    attempts: [],
    warnings: [],
    evidence: {},
  }
  return { state, outcomes: new Map(), snapshots: new Map(), recordedFailures: new Map() }
}

/** The machine with its plan known: GPUs, workers, the wanted units and one pending instance per GPU and step. */
export function withPlan(machine: Machine, plan: MachinePlan, wanted: readonly string[]): Machine {
  const instances = (units: readonly string[]): readonly InstanceState[] =>
    units.map((unit) => ({ gpu: gpuOfUnit(unit) ?? '', unit, state: 'pending' }))
  const perGpu: Readonly<Record<number, readonly string[]>> = {
    13: plan.instances.map((instance) => instance.unit),
    19: plan.instances.map((instance) => instance.unit),
    20: plan.workers.map((worker) => worker.unit),
  }
  const state: MachineState = {
    ...machine.state,
    machineId: plan.machineId,
    gpuMode: plan.gpuMode,
    workersConfig: plan.workersConfig,
    healthPort: plan.health.port,
    gpus: plan.gpus.map(({ name, index, uuid, model, memoryMiB }) => ({
      name,
      index,
      uuid,
      model,
      memoryMiB,
      mode: plan.gpuMode,
    })),
    workers: plan.workers.map(({ id, unit, gpu, type, services }) => ({ id, unit, gpu, type, services })),
    steps: machine.state.steps.map((step) => ({ ...step, instances: instances(perGpu[step.number] ?? []) })),
  }
  return { ...machine, state, outcomes: new Map(wanted.map((unit) => [unit, 'pending' as const])) }
}

/** The machine with one step changed; `step` of the state is the highest number that is done. */
export function withStep(machine: Machine, number: number, change: Partial<StepState>): Machine {
  const steps = machine.state.steps.map((step) => (step.number === number ? { ...step, ...change } : step))
  const step = Math.max(
    0,
    ...steps.filter(({ state }) => state === 'done' || state === 'skipped').map((each) => each.number),
  )
  return { ...machine, state: { ...machine.state, steps, step } }
}

/** The state of one step. */
export function stepState(machine: Machine, number: number): StepState {
  const step = machine.state.steps[number - 1]
  if (step === undefined) throw new RangeError(`no step ${number}`)
  return step
}

/** Tells whether a step has ended well. */
export function isDone(machine: Machine, number: number): boolean {
  const { state } = stepState(machine, number)
  return state === 'done' || state === 'skipped'
}

/** Tells whether a rollout stops and starts the units of a GPU now. */
export function isMoving({ state }: Machine, gpu: string | undefined): boolean {
  return gpu !== undefined && state.generations?.rollout?.gpu === gpu
}
