import type { UnitSnapshot } from '../host/ports.ts'
import type { Progress, ReportLine } from '../report.ts'
import { endInstance, remember, withInstance, withOutcome } from './fold-instance.ts'
import { clearShortfalls, foldShortfalls } from './fold-shortfall.ts'
import { addEvidence, endStep, type Folded, failAttempt, failStep, giveUp } from './fold-step.ts'
import { type Happening, isMoving, type Machine, stepState, withStep } from './machine.ts'
import { childrenOf, factsOf } from './parse-report.ts'
import { foldProgress } from './progress.ts'
import { endOfUnit, failureOfUnit, stoppedFailure } from './unit-failure.ts'
import { stepsOfUnit, type UnitStep } from './unit-steps.ts'
import { attemptEnd, attemptStart, becameActive, endAfter, leftInactive } from './unit-times.ts'

/** Not wanted itself, but why the health server cannot start shows in it. */
export const HEALTH_SOCKET = 'comfy-health.socket'

/** A change of a wanted unit, with the report and the progress its process left so far. Snapshots may repeat; what was told is not told again. */
export function foldUnit(
  machine: Machine,
  unit: UnitSnapshot,
  report: readonly ReportLine[],
  progress?: Progress,
): Folded {
  if (!machine.outcomes.has(unit.name))
    return { machine: unit.name === HEALTH_SOCKET ? remember(machine, unit) : machine, happenings: [] }
  let folded: Folded = { machine: remember(machine, unit), happenings: [] }
  const then = (next: (current: Machine) => Folded): void => {
    const { machine: after, happenings } = next(folded.machine)
    folded = { machine: after, happenings: [...folded.happenings, ...happenings] }
  }
  const fresh = hasStarted(machine, unit)
  if (!isUp(unit)) then((current) => ({ machine: clearShortfalls(current, unit.name), happenings: [] }))
  then((current) => foldReportedSteps(current, unit, report))
  for (const shown of stepsOfUnit(unit.name, 'unit')) {
    if (fresh && unit.activeState === 'activating') then((current) => foldRunning(current, shown, unit))
    folded = { ...folded, machine: foldProgress(folded.machine, shown.step.number, unit, progress) }
    if (isFailedAttempt(machine, unit)) then((current) => foldAttempt(current, shown, unit, report))
    if (isUp(unit) && fresh) then((current) => foldUp(current, shown, unit, report))
    if (isDown(unit) && unit.inactiveEnterMonoUs >= machine.state.startedMonoUs)
      then((current) => foldDown(current, shown, unit, report))
    if (isGone(machine, unit)) then((current) => foldGone(current, shown, unit))
  }
  return folded
}

/** Tells whether a unit left inactive in this startup, by the clock that nobody sets. */
export function hasStarted(machine: Machine, unit: UnitSnapshot): boolean {
  return unit.inactiveExitMonoUs >= machine.state.startedMonoUs
}

const isUp = (unit: UnitSnapshot): boolean => unit.activeState === 'active' || unit.activeState === 'reloading'

/** Tells whether a unit failed and systemd is about to start it again. */
export const isWaiting = (unit: UnitSnapshot): boolean => unit.subState.includes('auto-restart')

// A unit that is to be started again passes through failed for a moment (failed-before-auto-restart).
const isDown = (unit: UnitSnapshot): boolean => unit.activeState === 'failed' && !isWaiting(unit)

function isFailedAttempt(machine: Machine, unit: UnitSnapshot): boolean {
  if (unit.result === 'success' || unit.result === '' || !hasStarted(machine, unit)) return false
  const ended = unit.activeState === 'failed' || isWaiting(unit)
  return ended && machine.recordedFailures.get(unit.name) !== unit.invocationId
}

// At its start limit a unit keeps the result of its last attempt, and nothing else of it is new.
function isGivenUp(machine: Machine, unit: UnitSnapshot): boolean {
  const last = machine.state.failing.find((each) => each.unit === unit.name)
  return last?.willRestart === true && last.invocationId === unit.invocationId
}

function isGone(machine: Machine, unit: UnitSnapshot): boolean {
  return unit.activeState === 'inactive' && machine.outcomes.get(unit.name) === 'active'
}

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
  const recordedFailures = new Map(machine.recordedFailures).set(unit.name, unit.invocationId)
  const start = attemptStart(unit)
  return failAttempt({ ...machine, recordedFailures }, step.number, {
    unit: unit.name,
    ...(gpu === undefined ? {} : { gpu }),
    startUs: start.us,
    atUs: endAfter(start, attemptEnd(unit)),
    failure: failureOfUnit(step.number, unit, report),
    end: { ...endOfUnit(unit), ...(isWaiting(unit) ? { willRestart: true } : {}) },
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
  const without = foldShortfalls({ ...current, state: { ...current.state, failing } }, shown, unit, report)
  current = without.machine
  const end = {
    state: 'done' as const,
    startUs: unit.inactiveExitUs || unit.activeEnterUs,
    endUs: unit.inactiveExitUs === 0 ? unit.activeEnterUs : endAfter(leftInactive(unit), becameActive(unit)),
    attributes: evidence,
    children: childrenOf(report),
  }
  const folded =
    shown.gpu === undefined
      ? endStep(current, shown.step.number, { ...end, unit })
      : endInstance(current, shown, unit.name, end, unit)
  const lastFailing = machine.state.attempts.findLast((each) => each.unit === unit.name)
  const isBack = wasDown && machine.state.readyUs !== undefined && lastFailing !== undefined
  const recovered: readonly Happening[] = isBack
    ? [{ kind: 'recovered', failing: lastFailing, atUs: unit.activeEnterUs }]
    : []
  return { machine: folded.machine, happenings: [...without.happenings, ...folded.happenings, ...recovered] }
}

function foldDown(before: Machine, shown: UnitStep, unit: UnitSnapshot, report: readonly ReportLine[]): Folded {
  const machine = isGivenUp(before, unit) ? giveUp(before, unit.name) : before
  const down = withOutcome(machine, unit.name, 'failed')
  if (machine.state.readyUs !== undefined) return { machine: down, happenings: [] }
  const { number } = shown.step
  // What the canary lacks is no failure of the start: it goes back, and its step ends with the generation before.
  if (isMoving(machine, shown.gpu)) return { machine: down, happenings: [] }
  const atUs = endAfter(attemptStart(unit), attemptEnd(unit))
  const inInstance =
    shown.gpu === undefined ? down : withInstance(down, number, unit.name, { state: 'failed', endUs: atUs })
  const startUs = stepState(inInstance, number).startUs ?? unit.inactiveExitUs
  const failed = failStep(inInstance, number, startUs, atUs, unit)
  const children = childrenOf(report)
  const happenings = failed.happenings.map((each) => (each.kind === 'step-ended' ? { ...each, children } : each))
  return { machine: failed.machine, happenings }
}

function foldGone(machine: Machine, { step, gpu }: UnitStep, unit: UnitSnapshot): Folded {
  // Stopped to be started again with another generation.
  if (isMoving(machine, gpu)) return { machine: withOutcome(machine, unit.name, 'pending'), happenings: [] }
  const failure = stoppedFailure(step.number, unit.name)
  const place = { unit: unit.name, startUs: unit.inactiveEnterUs, atUs: unit.inactiveEnterUs, failure }
  return failAttempt(
    withOutcome(machine, unit.name, 'blocked'),
    step.number,
    gpu === undefined ? place : { ...place, gpu },
  )
}
