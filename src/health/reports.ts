import type {
  FailingState,
  GenerationsState,
  InstanceState,
  MachineState,
  ShortfallState,
  StepState,
  UnitState,
} from '../observe/state.ts'
import type { RejectedGeneration } from '../plan/pointers.ts'
import { elapsedMs, formatTime } from './format.ts'
import { laterModelsReport, progressReport } from './progress-report.ts'
import type { Sighting } from './record.ts'
import { judge } from './standing.ts'

/** A JSON document of the health server with its HTTP status. */
export interface JsonReport {
  readonly status: 200 | 503
  readonly body: Readonly<Record<string, unknown>>
}

/** The last moment of which the record can tell: now, or its last change when its agent has ended. Microseconds. */
export function knownUntilUs(state: MachineState, alive: boolean, nowUs: number): number {
  return alive ? nowUs : state.updatedUs
}

/** `GET /health`: 200 while the host agent is alive and at work. */
export function healthReport(sighting: Sighting, nowUs: number): JsonReport {
  const { phase, healthy, reason } = judge(sighting)
  const { state } = sighting
  const services = (state?.units ?? []).map((unit) => [unit.name, toService(unit)] as const)
  return {
    status: healthy ? 200 : 503,
    body: {
      healthy,
      reason,
      phase,
      step: state?.step ?? 0,
      uptime_ms: state === undefined ? 0 : uptimeMs(state, sighting.alive, nowUs),
      services: Object.fromEntries(services),
    },
  }
}

/** `GET /ready`: 200 only while the machine takes jobs; `degraded` only where it does so without a part of it. */
export function readyReport(sighting: Sighting): JsonReport {
  const { ready, reason } = judge(sighting)
  const failing = (sighting.state?.failing ?? []).map(({ step, code, unit, message, hint }) => ({
    step,
    code,
    unit,
    message,
    hint,
  }))
  const degraded = (sighting.state?.shortfalls ?? []).map(shortfallReport)
  const body = { ready, reason, failing, ...(degraded.length === 0 ? {} : { degraded }) }
  return { status: ready ? 200 : 503, body }
}

/** `GET /status` and `comfy-machine status --json`: everything on record. */
export function statusReport(sighting: Sighting, nowUs: number): JsonReport {
  const { state, alive } = sighting
  const standing = judge(sighting)
  if (state === undefined) {
    return { status: 503, body: { phase: standing.phase, ready: false, reason: standing.reason } }
  }
  const untilUs = knownUntilUs(state, alive, nowUs)
  return {
    status: 200,
    body: {
      schema: state.schema,
      machine_id: state.machineId,
      version: state.version,
      trace_id: state.traceId,
      boot_id: state.bootId,
      agent: { pid: state.agentPid, alive },
      phase: state.phase,
      healthy: standing.healthy,
      ready: standing.ready,
      reason: standing.reason,
      step: state.step,
      gpu_mode: state.gpuMode,
      health_port: state.healthPort,
      workers_config: state.workersConfig,
      started_at: formatTime(state.startedUs),
      updated_at: formatTime(state.updatedUs),
      ready_at: state.readyUs === undefined ? null : formatTime(state.readyUs),
      uptime_ms: uptimeMs(state, alive, nowUs),
      startup_duration_ms: state.readyUs === undefined ? null : elapsedMs(state.startedUs, state.readyUs),
      steps: state.steps.map((step) => stepReport(step, untilUs)),
      units: state.units.map(unitReport),
      gpus: state.gpus.map((gpu) => ({
        name: gpu.name,
        index: gpu.index,
        uuid: gpu.uuid,
        model: gpu.model,
        memory_mib: gpu.memoryMiB,
        mode: gpu.mode,
      })),
      workers: state.workers.map(({ id, unit, gpu, type, services }) => ({ id, unit, gpu, type, services })),
      failing: state.failing.map(failingReport),
      degraded: state.shortfalls.map(shortfallReport),
      later_models: state.laterModels === undefined ? null : laterModelsReport(state.laterModels),
      warnings: state.warnings,
      generations: state.generations === undefined ? null : generationsReport(state.generations),
      versions: versionsOf(state),
      evidence: state.evidence,
    },
  }
}

/** One step as `/status` and `/events` show it; a running one lasts until `untilUs`. */
export function stepReport(step: StepState, untilUs: number): Readonly<Record<string, unknown>> {
  return {
    number: step.number,
    title: step.title,
    event: step.event,
    phase: step.phase,
    state: step.state,
    ...timing(step, untilUs),
    unit: step.unit ?? null,
    detail: step.detail ?? null,
    progress: step.progress === undefined ? null : progressReport(step.progress),
    attempts: step.attempts,
    attributes: step.attributes,
    instances: step.instances.map((instance) => ({
      gpu: instance.gpu,
      unit: instance.unit,
      state: instance.state,
      ...timing(instance, untilUs),
    })),
  }
}

function generationsReport({ rejected, rollout, ...others }: GenerationsState): Readonly<Record<string, unknown>> {
  return {
    ...others,
    rollout:
      rollout === null
        ? null
        : {
            generation: rollout.generation,
            direction: rollout.direction,
            gpu: rollout.gpu,
            start: formatTime(rollout.startUs),
          },
    rejected: rejected === null ? null : rejectionReport(rejected),
  }
}

function rejectionReport({
  atUs,
  ...why
}: RejectedGeneration & { readonly generation: string }): Readonly<Record<string, unknown>> {
  return { ...why, at: formatTime(atUs) }
}

/** One unit as `/status` and `/events` show it. */
export function unitReport(unit: UnitState): Readonly<Record<string, unknown>> {
  return {
    name: unit.name,
    active_state: unit.activeState,
    sub_state: unit.subState,
    result: unit.result,
    main_pid: unit.mainPid,
    restarts: unit.restarts,
    status_text: unit.statusText,
    invocation_id: unit.invocationId,
  }
}

/** One entry of the failing list as `/status` and `/events` show it. */
export function failingReport(failing: FailingState): Readonly<Record<string, unknown>> {
  return {
    step: failing.step,
    step_name: failing.stepName,
    code: failing.code,
    type: failing.type,
    unit: failing.unit,
    gpu: failing.gpu ?? null,
    message: failing.message,
    hint: failing.hint,
    run: failing.run,
    attempt: failing.attempt,
    at: formatTime(failing.atUs),
  }
}

/** One entry of the degraded list as `/ready`, `/status` and `/events` show it. */
export function shortfallReport(shortfall: ShortfallState): Readonly<Record<string, unknown>> {
  const { step, code, type, component, unit, gpu, message, hint, run } = shortfall
  return { step, step_name: shortfall.stepName, code, type, component, unit, gpu: gpu ?? null, message, hint, run }
}

/** Milliseconds a step or instance took; until `untilUs` while it runs; null before it began. */
export function durationMs(part: StepState | InstanceState, untilUs: number): number | null {
  if (part.startUs === undefined) return null
  return elapsedMs(part.startUs, part.endUs ?? untilUs)
}

function timing(part: StepState | InstanceState, untilUs: number): Readonly<Record<string, unknown>> {
  return {
    start: part.startUs === undefined ? null : formatTime(part.startUs),
    duration_ms: durationMs(part, untilUs),
  }
}

function uptimeMs(state: MachineState, alive: boolean, nowUs: number): number {
  return Math.round(elapsedMs(state.startedUs, knownUntilUs(state, alive, nowUs)))
}

function versionsOf(state: MachineState): Readonly<Record<string, unknown>> {
  const known = Object.entries(state.evidence).filter(([name]) => /(^|[._])(version|commit)$/.test(name))
  return { 'comfy-machine': state.version, ...Object.fromEntries(known) }
}

function toService(unit: UnitState): Readonly<Record<string, unknown>> {
  return {
    healthy: unit.activeState === 'active',
    status: unit.activeState,
    pid: unit.mainPid,
    restarts: unit.restarts,
  }
}
