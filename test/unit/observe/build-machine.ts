import { loadConfig } from '../../../src/config/load-config.ts'
import type { UnitSnapshot } from '../../../src/host/ports.ts'
import { enterPhase, type Folded } from '../../../src/observe/fold-step.ts'
import { type Happening, type Machine, newMachine, withPlan } from '../../../src/observe/machine.ts'
import type { FailingState, MachinePhase, StepState } from '../../../src/observe/state.ts'
import type { MachinePlan } from '../../../src/plan/plan.ts'
import { planMachine } from '../../../src/plan/plan-machine.ts'
import { wantedUnits } from '../../../src/render/unit-values.ts'
import type { ReportLine } from '../../../src/report.ts'

/** When the startup of every built machine began: microseconds since the epoch. */
const BEGUN_US = 1_790_000_000_000_000

const BEGUN_MONO_US = 500_000_000

/** `seconds` into the startup, as microseconds since the epoch. */
export const at = (seconds: number): number => BEGUN_US + Math.round(seconds * 1_000_000)

/** `seconds` into the startup, as microseconds of the monotonic clock. */
export const monoAt = (seconds: number): number => BEGUN_MONO_US + Math.round(seconds * 1_000_000)

/** The trace id of every built machine. */
export const TRACE_ID = '0123456789abcdef'.repeat(2)

/** A plan of mock GPUs, one instance and one worker each. */
export function planOf(gpus = 2, environment = ''): MachinePlan {
  const text = `MACHINE_ID=m1\nWORKERS=comfyui:auto\nGPU_MODE=mock\nEMPROPS_API_URL=https://a.test\nHUB_REDIS_URL=redis://h.test\n${environment}`
  const { config } = loadConfig([{ kind: 'machine', name: 'machine.env', text }], { machineId: null })
  if (config === undefined) throw new Error('the test configuration has problems')
  const worker = { type: 'comfyui', count: 'auto' as const, services: ['comfyui'], queues: ['comfyui'] }
  const comfyui = { repoUrl: null, ref: null, basePort: null, portIncrement: 1 }
  const mock = { uuid: null, pciBusId: null, minor: null, numaNode: null, model: 'mock', memoryMiB: 0 }
  const chosen = Array.from({ length: gpus }, () => mock)
  const torch = { backend: null, reason: '' }
  return planMachine(
    config,
    { workers: [worker], comfyui },
    { gpus: chosen, torch },
    { version: '1.2.3', traceId: TRACE_ID },
  )
}

/** A machine whose plan is known and of which no unit has started. */
export function planned(gpus = 2): Machine {
  const plan = planOf(gpus)
  const identity = { machineId: 'm1', version: '1.2.3', traceId: TRACE_ID, bootId: 'b1', agentPid: 1 }
  return withPlan(
    newMachine({ ...identity, startedUs: BEGUN_US, startedMonoUs: BEGUN_MONO_US }),
    plan,
    wantedUnits(plan),
  )
}

/** A machine that has just come to a phase. */
export function inPhase(phase: MachinePhase): Machine {
  const from = planned()
  return enterPhase({ ...from, state: { ...from.state, phase: 'starting' } }, phase, at(60)).machine
}

/** A model with the wrong hash. */
export function failingAt(changes: Partial<FailingState> = {}): FailingState {
  return {
    step: 18,
    stepName: 'Models Installation',
    unit: 'comfy-install-models.service',
    code: 'CM1804',
    type: 'checksum_mismatch',
    message: 'ae.safetensors: sha256 is 3f, expected 9a',
    hint: 'Correct the hash in the API.',
    run: 'journalctl -u comfy-install-models',
    atUs: at(20),
    attempt: 1,
    ...changes,
  }
}

/** The end of step 14, unless changed. */
export function stepEnded(changes: Partial<StepState> = {}): Extract<Happening, { kind: 'step-ended' }> {
  const [step] = planned().state.steps.filter(({ number }) => number === 14)
  if (step === undefined) throw new Error('there is no step 14')
  const ended: StepState = { ...step, state: 'done', startUs: at(1), endUs: at(3.5), ...changes }
  return { kind: 'step-ended', step: ended, unit: undefined, children: [], attempts: [] }
}

type Time = 'condition' | 'inactiveExit' | 'activeEnter' | 'inactiveEnter' | 'execMainStart' | 'execMainExit'

const NEVER: Omit<UnitSnapshot, `${Time}MonoUs`> = {
  name: '',
  loadState: 'loaded',
  activeState: 'inactive',
  subState: 'dead',
  result: 'success',
  jobId: 0,
  invocationId: '',
  restarts: 0,
  mainPid: 0,
  exitCode: 0,
  exitStatus: 0,
  statusText: '',
  conditionResult: true,
  conditionUs: 0,
  inactiveExitUs: 0,
  activeEnterUs: 0,
  inactiveEnterUs: 0,
  execMainStartUs: 0,
  execMainExitUs: 0,
  needDaemonReload: false,
  loadError: '',
}

/** A unit that this boot has not started, unless changed. Its monotonic times fit the others, as if nobody had set the clock. */
export function unitOf(name: string, changes: Partial<UnitSnapshot> = {}): UnitSnapshot {
  const unit = { ...NEVER, name, ...changes }
  const mono = (us: number): number => (us === 0 ? 0 : us - BEGUN_US + BEGUN_MONO_US)
  return {
    conditionMonoUs: mono(unit.conditionUs),
    inactiveExitMonoUs: mono(unit.inactiveExitUs),
    activeEnterMonoUs: mono(unit.activeEnterUs),
    inactiveEnterMonoUs: mono(unit.inactiveEnterUs),
    execMainStartMonoUs: mono(unit.execMainStartUs),
    execMainExitMonoUs: mono(unit.execMainExitUs),
    ...unit,
  }
}

/** The same unit after further changes; monotonic times are made anew. */
export function changed(unit: UnitSnapshot, changes: Partial<UnitSnapshot>): UnitSnapshot {
  const kept = Object.entries(unit).filter(([key]) => !key.endsWith('MonoUs'))
  return unitOf(unit.name, { ...Object.fromEntries(kept), ...changes })
}

/** The same unit as seen after the wall clock was set forward by `seconds`, at or after `from` seconds into the startup. */
export function afterClockSet(unit: UnitSnapshot, from: number, seconds: number): UnitSnapshot {
  const shift = (key: string, value: unknown): unknown =>
    key.endsWith('Us') && !key.endsWith('MonoUs') && Number(value) >= at(from) ? Number(value) + seconds * 1e6 : value
  return { ...unit, ...Object.fromEntries(Object.entries(unit).map(([key, value]) => [key, shift(key, value)])) }
}

/** The invocation id that the built snapshots of a unit carry for its n-th start. */
export function invocationOf(name: string, start = 1): string {
  const hex = [...name].map((char) => (char.codePointAt(0) ?? 0).toString(16)).join('')
  return String(start).padStart(2, '0') + hex.padEnd(30, '7').slice(-30)
}

/** A unit that has been starting since `from`. */
export function activating(name: string, from: number, changes: Partial<UnitSnapshot> = {}): UnitSnapshot {
  return unitOf(name, {
    activeState: 'activating',
    subState: 'start',
    invocationId: invocationOf(name),
    conditionUs: at(from),
    inactiveExitUs: at(from),
    execMainStartUs: at(from),
    mainPid: 100,
    ...changes,
  })
}

/** A unit that began at `from` and is active since `to`. */
export function active(name: string, from: number, to: number, changes: Partial<UnitSnapshot> = {}): UnitSnapshot {
  return activating(name, from, { activeState: 'active', subState: 'running', activeEnterUs: at(to), ...changes })
}

/** A unit that began at `from`, failed at `to` and is given up. */
export function failed(name: string, from: number, to: number, changes: Partial<UnitSnapshot> = {}): UnitSnapshot {
  return activating(name, from, {
    activeState: 'failed',
    subState: 'failed',
    result: 'exit-code',
    exitCode: 1,
    exitStatus: 1,
    mainPid: 0,
    inactiveEnterUs: at(to),
    execMainExitUs: at(to),
    ...changes,
  })
}

/** A unit that failed at `to` and is about to be started again: systemd is between two attempts. */
export function restarting(name: string, from: number, to: number, changes: Partial<UnitSnapshot> = {}): UnitSnapshot {
  return failed(name, from, to, {
    activeState: 'activating',
    subState: 'auto-restart',
    inactiveEnterUs: 0,
    ...changes,
  })
}

/** The report of a unit's process. */
export function reportOf(invocationId: string, ...lines: readonly ReportLine[]): readonly ReportLine[] {
  return [{ kind: 'begin', invocationId }, ...lines]
}

/** A machine after a list of folds, and everything they told. */
export function foldAll(machine: Machine, folds: readonly ((current: Machine) => Folded)[]): Folded {
  return folds.reduce<Folded>(
    (so, fold) => {
      const next = fold(so.machine)
      return { machine: next.machine, happenings: [...so.happenings, ...next.happenings] }
    },
    { machine, happenings: [] },
  )
}
