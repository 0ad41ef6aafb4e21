import type { UnitSnapshot } from '../host/ports.ts'
import type { Attributes, ReportChild, ReportLine } from '../report.ts'
import { endInstance, remember, withInstance, withOutcome } from './fold-instance.ts'
import { addEvidence, endStep, type Folded, failAttempt, failStep } from './fold-step.ts'
import { type Happening, type Machine, stepState, withStep } from './machine.ts'
import { dependencyFailure, failureOfUnit, portFailure } from './unit-failure.ts'
import { stepsOfUnit, type UnitStep } from './unit-steps.ts'

const HEALTH_SERVICE = 'comfy-health.service'
/** Not wanted itself, but why the health server cannot start shows in it. */
export const HEALTH_SOCKET = 'comfy-health.socket'

/** A change of a wanted unit, with the report its process left so far. Snapshots may repeat; what was told is not told again. */
export function foldUnit(machine: Machine, unit: UnitSnapshot, report: readonly ReportLine[]): Folded {
  if (!machine.outcomes.has(unit.name))
    return { machine: unit.name === HEALTH_SOCKET ? remember(machine, unit) : machine, happenings: [] }
  let folded: Folded = { machine: remember(machine, unit), happenings: [] }
  const then = (next: (current: Machine) => Folded): void => {
    const { machine: after, happenings } = next(folded.machine)
    folded = { machine: after, happenings: [...folded.happenings, ...happenings] }
  }
  const fresh = unit.inactiveExitUs >= machine.state.startedUs
  then((current) => foldReportedSteps(current, unit, report))
  for (const shown of stepsOfUnit(unit.name, 'unit')) {
    if (fresh && unit.activeState === 'activating') then((current) => foldRunning(current, shown, unit))
    if (isFailedAttempt(machine, unit)) then((current) => foldAttempt(current, shown, unit, report))
    if (isUp(unit) && fresh) then((current) => foldUp(current, shown, unit, report))
    if (isGivenUp(unit) && unit.inactiveEnterUs >= machine.state.startedUs)
      then((current) => foldDown(current, shown, unit, report))
    if (isGone(machine, unit)) then((current) => foldGone(current, shown, unit))
  }
  return folded
}

/** A start job of a wanted unit was queued (step 13). The manager keeps no time of it: `atUs` is when it told. */
export function foldJobNew(machine: Machine, unitName: string, atUs: number): Folded {
  if (!machine.outcomes.has(unitName) || machine.state.phase !== 'starting') return { machine, happenings: [] }
  const [shown] = stepsOfUnit(unitName, 'job')
  if (shown === undefined) return { machine, happenings: [] }
  return endInstance(machine, shown, unitName, { state: 'done', startUs: atUs, endUs: atUs }, undefined)
}

/** As foldJobNew, of a job that was queued while nobody listened: at the earliest when the units were loaded (step 11). */
export function foldMissedJob(machine: Machine, unit: UnitSnapshot): Folded {
  const isQueued = unit.jobId !== 0 || unit.inactiveExitUs >= machine.state.startedUs
  const isTold = stepsOfUnit(unit.name, 'job').every(({ step }) =>
    stepState(machine, step.number).instances.some((each) => each.unit === unit.name && each.state === 'done'),
  )
  if (!isQueued || isTold) return { machine, happenings: [] }
  return foldJobNew(machine, unit.name, stepState(machine, 11).endUs ?? machine.state.startedUs)
}

/** A job of a wanted unit ended. Only here systemd tells of units that were never started. */
export function foldJobRemoved(machine: Machine, unitName: string, result: string, atUs: number): Folded {
  const snapshot = machine.snapshots.get(unitName)
  if (machine.outcomes.get(unitName) !== 'pending' || machine.state.phase !== 'starting')
    return { machine, happenings: [] }
  if (result === 'done' && snapshot !== undefined && wasSkipped(machine, snapshot))
    return foldSkipped(machine, snapshot)
  if (result !== 'dependency' && result !== 'canceled' && result !== 'assert') return { machine, happenings: [] }
  const blocked = withOutcome(machine, unitName, 'blocked')
  const portTaken = unitName === HEALTH_SERVICE && machine.snapshots.get(HEALTH_SOCKET)?.activeState === 'failed'
  // The cause is another step's failure; only one without any visible cause is a failure of its own.
  if (machine.state.failing.length > 0 && !portTaken) return { machine: blocked, happenings: [] }
  const [shown] = stepsOfUnit(unitName, 'unit')
  if (shown === undefined) return { machine: blocked, happenings: [] }
  const number = shown.step.number
  const failure = portTaken ? portFailure(machine.state.healthPort) : dependencyFailure(number, unitName, result)
  const { gpu } = shown
  const inInstance =
    gpu === undefined ? blocked : withInstance(blocked, number, unitName, { state: 'failed', endUs: atUs })
  const place = { unit: unitName, startUs: atUs, atUs, failure }
  const attempt = failAttempt(inInstance, number, gpu === undefined ? place : { ...place, gpu })
  const failed = failStep(attempt.machine, number, atUs, atUs, snapshot)
  return { machine: failed.machine, happenings: [...attempt.happenings, ...failed.happenings] }
}

const isUp = (unit: UnitSnapshot): boolean => unit.activeState === 'active' || unit.activeState === 'reloading'

// A unit that is to be started again passes through failed for a moment (failed-before-auto-restart).
const isGivenUp = (unit: UnitSnapshot): boolean =>
  unit.activeState === 'failed' && !unit.subState.includes('auto-restart')

function isFailedAttempt(machine: Machine, unit: UnitSnapshot): boolean {
  if (unit.result === 'success' || unit.result === '' || unit.inactiveExitUs < machine.state.startedUs) return false
  const ended = unit.activeState === 'failed' || unit.subState.includes('auto-restart')
  return ended && endUs(unit) > (machine.recordedExits.get(unit.name) ?? 0)
}

function isGone(machine: Machine, unit: UnitSnapshot): boolean {
  return unit.activeState === 'inactive' && machine.outcomes.get(unit.name) === 'active'
}

function wasSkipped(machine: Machine, unit: UnitSnapshot): boolean {
  return (
    !unit.conditionResult &&
    unit.conditionUs >= machine.state.startedUs &&
    unit.inactiveExitUs < machine.state.startedUs
  )
}

/**
 * When an attempt ended: with its main process, where it had one. The unit itself fails later than that when systemd has
 * waited for a restart that its start limit forbids: no second attempt.
 */
const endUs = (unit: UnitSnapshot): number =>
  unit.execMainExitUs >= unit.inactiveExitUs && unit.result !== 'resources' ? unit.execMainExitUs : unit.inactiveEnterUs

/** When an attempt began. A direct restart does not make a unit inactive, so only its main process has a new begin. */
const attemptStartUs = (unit: UnitSnapshot): number =>
  unit.execMainStartUs > unit.inactiveExitUs && unit.execMainStartUs <= endUs(unit)
    ? unit.execMainStartUs
    : unit.inactiveExitUs

function foldReportedSteps(machine: Machine, unit: UnitSnapshot, report: readonly ReportLine[]): Folded {
  let current = machine
  const happenings: Happening[] = []
  for (const shown of stepsOfUnit(unit.name, 'report')) {
    const line = report.find((each) => each.kind === 'step' && each.step === shown.step.number)
    if (line?.kind !== 'step') continue
    const end = { startUs: line.startUs, endUs: line.endUs, state: 'done' as const, attributes: line.attributes }
    const folded = endStep(current, shown.step.number, { ...end, unit })
    current = folded.machine
    happenings.push(...folded.happenings)
  }
  return { machine: current, happenings }
}

function foldRunning(before: Machine, shown: UnitStep, unit: UnitSnapshot): Folded {
  // A unit that was active and starts anew is waited for again.
  const isAwaited = before.state.phase === 'starting' && before.outcomes.get(unit.name) !== 'pending'
  return showRunning(isAwaited ? withOutcome(before, unit.name, 'pending') : before, shown, unit)
}

function showRunning(machine: Machine, { step, gpu }: UnitStep, unit: UnitSnapshot): Folded {
  const before = stepState(machine, step.number)
  const detail = unit.statusText === '' ? {} : { detail: unit.statusText }
  if (gpu !== undefined) {
    const running = withInstance(machine, step.number, unit.name, { state: 'running', startUs: unit.inactiveExitUs })
    const first =
      before.state === 'pending' ? { state: 'running' as const, startUs: unit.inactiveExitUs, unit: unit.name } : {}
    return { machine: withStep(running, step.number, { ...first, ...detail }), happenings: [] }
  }
  if (before.state === 'done' || before.state === 'failed') return { machine, happenings: [] }
  const running = { state: 'running' as const, startUs: before.startUs ?? unit.inactiveExitUs, unit: unit.name }
  return { machine: withStep(machine, step.number, { ...running, ...detail }), happenings: [] }
}

function foldAttempt(
  machine: Machine,
  { step, gpu }: UnitStep,
  unit: UnitSnapshot,
  report: readonly ReportLine[],
): Folded {
  const recordedExits = new Map(machine.recordedExits).set(unit.name, endUs(unit))
  return failAttempt({ ...machine, recordedExits }, step.number, {
    unit: unit.name,
    ...(gpu === undefined ? {} : { gpu }),
    startUs: attemptStartUs(unit),
    atUs: endUs(unit),
    failure: failureOfUnit(step.number, unit, report),
  })
}

function foldUp(machine: Machine, shown: UnitStep, unit: UnitSnapshot, report: readonly ReportLine[]): Folded {
  const outcome = machine.outcomes.get(unit.name)
  const wasDown =
    outcome === 'failed' || outcome === 'blocked' || machine.state.failing.some((each) => each.unit === unit.name)
  const failing = machine.state.failing.filter((each) => each.unit !== unit.name)
  const evidence = factsOf(report)
  let current = addEvidence(
    withOutcome(machine, unit.name, 'active'),
    shown.gpu === undefined || shown.gpu === 'gpu0' ? evidence : {},
  )
  current = { ...current, state: { ...current.state, failing } }
  const end = {
    state: 'done' as const,
    startUs: unit.inactiveExitUs || unit.activeEnterUs,
    endUs: unit.activeEnterUs,
    attributes: evidence,
    children: childrenOf(report),
  }
  const folded =
    shown.gpu === undefined
      ? endStep(current, shown.step.number, { ...end, unit })
      : endInstance(current, shown, unit.name, end, unit)
  const recovered: readonly Happening[] =
    wasDown && machine.state.readyUs !== undefined ? [{ kind: 'recovered', unit: unit.name }] : []
  return { machine: folded.machine, happenings: [...folded.happenings, ...recovered] }
}

function foldDown(machine: Machine, shown: UnitStep, unit: UnitSnapshot, report: readonly ReportLine[]): Folded {
  const down = withOutcome(machine, unit.name, 'failed')
  if (machine.state.readyUs !== undefined) return { machine: down, happenings: [] }
  const { number } = shown.step
  const inInstance =
    shown.gpu === undefined ? down : withInstance(down, number, unit.name, { state: 'failed', endUs: endUs(unit) })
  const startUs = stepState(inInstance, number).startUs ?? unit.inactiveExitUs
  const failed = failStep(inInstance, number, startUs, endUs(unit), unit)
  const children = childrenOf(report)
  const happenings = failed.happenings.map((each) => (each.kind === 'step-ended' ? { ...each, children } : each))
  return { machine: failed.machine, happenings }
}

function foldGone(machine: Machine, { step, gpu }: UnitStep, unit: UnitSnapshot): Folded {
  const failure = { ...dependencyFailure(step.number, unit.name, ''), message: `${unit.name} was stopped` }
  const place = { unit: unit.name, startUs: unit.inactiveEnterUs, atUs: unit.inactiveEnterUs, failure }
  return failAttempt(
    withOutcome(machine, unit.name, 'blocked'),
    step.number,
    gpu === undefined ? place : { ...place, gpu },
  )
}

function foldSkipped(machine: Machine, unit: UnitSnapshot): Folded {
  const skipped = withOutcome(machine, unit.name, 'skipped')
  const end = { startUs: unit.conditionUs, endUs: unit.conditionUs, state: 'skipped' as const }
  const [shown] = stepsOfUnit(unit.name, 'unit')
  if (shown === undefined) return { machine: skipped, happenings: [] }
  return shown.gpu === undefined
    ? endStep(skipped, shown.step.number, { ...end, unit })
    : endInstance(skipped, shown, unit.name, end, unit)
}

const childrenOf = (report: readonly ReportLine[]): readonly ReportChild[] =>
  report.filter((line) => line.kind === 'child')

const factsOf = (report: readonly ReportLine[]): Attributes =>
  Object.assign({}, ...report.map((line) => (line.kind === 'fact' ? line.attributes : {})))
