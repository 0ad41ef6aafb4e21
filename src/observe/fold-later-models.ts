import type { UnitSnapshot } from '../host/ports.ts'
import type { Progress, ReportedFailure, ReportLine } from '../report.ts'
import { MODELS_STEP, stepOf } from '../steps.ts'
import { foldShortfalls } from './fold-shortfall.ts'
import type { Folded } from './fold-step.ts'
import { hasStarted, isWaiting } from './fold-unit.ts'
import type { Machine } from './machine.ts'
import { childrenOf, factsOf } from './parse-report.ts'
import type { LaterModelsState } from './state.ts'
import { failureOfUnit } from './unit-failure.ts'
import { attemptEnd, attemptStart, becameActive, endAfter, leftInactive } from './unit-times.ts'

/**
 * A change of the unit that loads models after the start, with the report and the progress its process left so far. It is no
 * wanted unit: whatever becomes of it the machine stays as ready as it is, and goes on without the models that fail.
 */
export function foldLaterModels(
  before: Machine,
  told: UnitSnapshot,
  report: readonly ReportLine[],
  progress?: Progress,
): Folded {
  const machine = { ...before, snapshots: new Map(before.snapshots).set(told.name, told) }
  const unit = asOfItsRun(told, before.state.laterModels)
  const state = stateOf(unit)
  if (state === undefined || !hasStarted(machine, unit)) return { machine, happenings: [] }
  const { laterModels } = machine.state
  const known = laterModels?.invocationId === unit.invocationId ? laterModels : undefined
  if (state === 'running') return foldRunning(machine, unit, known, progress)
  if (state === 'stopped') return foldStopped(machine, unit, known)
  // A run that failed ends once: it is waiting first, and failed when systemd gives it up.
  if (known !== undefined && known.state !== 'running')
    return { machine: withLoading(machine, { ...known, state }), happenings: [] }
  return foldEnd(machine, unit, state, report)
}

// Just before it starts a unit again systemd has given it the next invocation, and tells of the end of the last one still.
function asOfItsRun(unit: UnitSnapshot, last: LaterModelsState | undefined): UnitSnapshot {
  // What was told first of the run was told before its process was.
  const starts = [unit.execMainStartUs, unit.inactiveExitUs]
  const isOfLast = isWaiting(unit) && last !== undefined && starts.includes(last.startUs)
  return isOfLast ? { ...unit, invocationId: last.invocationId } : unit
}

const startOfRun = (unit: UnitSnapshot): number => unit.execMainStartUs || unit.inactiveExitUs

const endOfAttempt = (unit: UnitSnapshot): number => endAfter(attemptStart(unit), attemptEnd(unit))

function stateOf(unit: UnitSnapshot): LaterModelsState['state'] | undefined {
  // For a moment systemd tells of a process that it has just started and of a unit that still waits for that.
  const hasEnded = unit.execMainExitUs >= unit.execMainStartUs
  if (isWaiting(unit) && hasEnded) return 'waiting'
  switch (unit.activeState) {
    case 'activating':
      return 'running'
    case 'active':
      return 'done'
    case 'failed':
      return 'failed'
    case 'inactive':
      return 'stopped'
    default:
      return undefined
  }
}

function foldRunning(
  machine: Machine,
  unit: UnitSnapshot,
  known: LaterModelsState | undefined,
  told: Progress | undefined,
): Folded {
  const progress = told ?? known?.progress
  const loading: LaterModelsState = {
    unit: unit.name,
    invocationId: unit.invocationId,
    state: 'running',
    startUs: known?.startUs ?? startOfRun(unit),
    ...(unit.statusText === '' ? {} : { detail: unit.statusText }),
    ...(progress === undefined ? {} : { progress }),
    attributes: {},
  }
  // One that finds everything in place tells no progress, and is not worth a word.
  const isFirst = hasBegun(progress) && !hasBegun(known?.progress)
  return {
    machine: withLoading(machine, loading),
    happenings: isFirst ? [{ kind: 'later-models-begun', loading }] : [],
  }
}

// How much there is to load is known a moment after how many.
function hasBegun(progress: Progress | undefined): boolean {
  return progress !== undefined && (progress.totalBytes !== undefined || (progress.bytes ?? 0) > 0)
}

function foldStopped(machine: Machine, unit: UnitSnapshot, known: LaterModelsState | undefined): Folded {
  if (known === undefined || (known.endUs !== undefined && known.state !== 'waiting'))
    return { machine, happenings: [] }
  const { progress: _, detail: __, ...rest } = known
  const endUs = endOfAttempt(unit)
  return { machine: withLoading(machine, { ...rest, state: 'stopped', endUs }), happenings: [] }
}

function foldEnd(
  machine: Machine,
  unit: UnitSnapshot,
  state: 'waiting' | 'done' | 'failed',
  report: readonly ReportLine[],
): Folded {
  const own = report.some((line) => line.kind === 'begin' && line.invocationId === unit.invocationId) ? report : []
  const isDone = state === 'done'
  const [start, end] = isDone ? [leftInactive(unit), becameActive(unit)] : [attemptStart(unit), attemptEnd(unit)]
  const loading: LaterModelsState = {
    unit: unit.name,
    invocationId: unit.invocationId,
    state,
    startUs: startOfRun(unit) || start.us,
    endUs: endAfter(start, end),
    attributes: factsOf(own),
  }
  const failure = isDone ? undefined : failureOfUnit(MODELS_STEP, unit, own)
  const without = foldShortfalls(
    withLoading(machine, loading),
    { step: stepOf(MODELS_STEP), gpu: undefined },
    unit,
    shortfallsOf(unit, own, failure),
  )
  const children = childrenOf(own)
  const ended = { kind: 'later-models-ended', loading, unit, children } as const
  return {
    machine: without.machine,
    happenings: [...without.happenings, failure === undefined ? ended : { ...ended, failure }],
  }
}

/** Every model that failed is a part that is missing; where a run failed before it came to one, all of them are. */
function shortfallsOf(
  unit: UnitSnapshot,
  report: readonly ReportLine[],
  failure: ReportedFailure | undefined,
): readonly ReportLine[] {
  const models = childrenOf(report).flatMap(({ name: component, failure: why }): readonly ReportLine[] =>
    why === undefined ? [] : [{ kind: 'shortfall', component, failure: why }],
  )
  const said = [...report.filter((line) => line.kind === 'shortfall'), ...models]
  const all: readonly ReportLine[] =
    said.length > 0 || failure === undefined
      ? said
      : [{ kind: 'shortfall', component: 'models for after the start', failure }]
  return [{ kind: 'begin', invocationId: unit.invocationId }, ...all]
}

function withLoading(machine: Machine, laterModels: LaterModelsState): Machine {
  return { ...machine, state: { ...machine.state, laterModels } }
}
