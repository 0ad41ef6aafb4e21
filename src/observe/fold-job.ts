import type { UnitSnapshot } from '../host/ports.ts'
import type { ReportedFailure } from '../report.ts'
import { endInstance, withInstance, withOutcome } from './fold-instance.ts'
import { endStep, type Folded, failAttempt, failStep } from './fold-step.ts'
import { HEALTH_SOCKET, hasStarted } from './fold-unit.ts'
import { isMoving, type Machine, stepState } from './machine.ts'
import { failureOfUnit, portFailure, stoppedFailure, unstartedFailure } from './unit-failure.ts'
import { gpuOfUnit, stepsOfUnit } from './unit-steps.ts'
import { becameInactive, endAfter, leftInactive } from './unit-times.ts'

const HEALTH_SERVICE = 'comfy-health.service'

/** A start job of a wanted unit was queued (step 13). The manager keeps no time of it: `atUs` is when it told. */
export function foldJobNew(machine: Machine, unitName: string, atUs: number): Folded {
  if (!machine.outcomes.has(unitName) || machine.state.phase !== 'starting') return { machine, happenings: [] }
  const [shown] = stepsOfUnit(unitName, 'job')
  if (shown === undefined) return { machine, happenings: [] }
  const { instances } = stepState(machine, shown.step.number)
  // One that fails and is started again has a further job, which is none of this step.
  if (instances.some(({ unit, state }) => unit === unitName && state === 'done')) return { machine, happenings: [] }
  return endInstance(machine, shown, unitName, { state: 'done', startUs: atUs, endUs: atUs }, undefined)
}

/** A unit that was read: its start job was queued, though nobody may have been told, when it has one or has started. */
export function foldQueued(machine: Machine, unit: UnitSnapshot, atUs: number): Folded {
  if (hasStarted(machine, unit)) return foldJobNew(machine, unit.name, unit.inactiveExitUs)
  return unit.jobId === 0 ? { machine, happenings: [] } : foldJobNew(machine, unit.name, atUs)
}

/** A job of a wanted unit ended. Only here systemd tells of units that were never started. */
export function foldJobRemoved(machine: Machine, unitName: string, result: string, atUs: number): Folded {
  if (!isAwaited(machine, unitName)) return { machine, happenings: [] }
  const unit = machine.snapshots.get(unitName)
  const ended = unit === undefined ? undefined : foldEnded(machine, unit)
  if (result === 'done') return ended ?? { machine, happenings: [] }
  // One that was started tells its end itself, unless its job was taken away.
  const tellsItself = unit !== undefined && unit.activeState !== 'inactive' && hasStarted(machine, unit)
  if (tellsItself && result !== 'canceled') return { machine, happenings: [] }
  return foldUnstarted(machine, unitName, result, atUs)
}

/**
 * A unit that was read, and not told of, after the start of the machine was asked for. Without a job it waits for nothing:
 * what the end of its job said, while nobody listened, is judged by its state. `atUs` is when it was read.
 */
export function foldJobless(machine: Machine, unit: UnitSnapshot, atUs: number): Folded {
  const { jobId, activeState } = unit
  const isIdle = jobId === 0 && (activeState === 'inactive' || activeState === 'failed')
  if (!isIdle || !isAwaited(machine, unit.name)) return { machine, happenings: [] }
  return foldEnded(machine, unit) ?? foldUnstarted(machine, unit.name, undefined, atUs)
}

function isAwaited({ outcomes, state }: Machine, unitName: string): boolean {
  return outcomes.get(unitName) === 'pending' && state.phase === 'starting'
}

// Undefined when the unit did not end well of itself.
function foldEnded(machine: Machine, unit: UnitSnapshot): Folded | undefined {
  if (unit.activeState !== 'inactive') return undefined
  const started = hasStarted(machine, unit)
  const start = leftInactive(unit)
  const end = { startUs: start.us, endUs: endAfter(start, becameInactive(unit)) }
  if (started && unit.result === 'exec-condition') return foldOver(machine, unit, 'skipped', end)
  // 1: the main process exited by itself, CLD_EXITED.
  if (started) {
    // One that a rollout has stopped is about to be started again.
    const isOver = unit.result === 'success' && unit.exitCode === 1 && !isMoving(machine, gpuOfUnit(unit.name))
    return isOver ? foldOver(machine, unit, 'done', end) : undefined
  }
  const saidNo = !unit.conditionResult && unit.conditionMonoUs >= machine.state.startedMonoUs
  return saidNo ? foldOver(machine, unit, 'skipped', { startUs: unit.conditionUs, endUs: unit.conditionUs }) : undefined
}

function foldOver(
  machine: Machine,
  unit: UnitSnapshot,
  state: 'done' | 'skipped',
  times: { readonly startUs: number; readonly endUs: number },
): Folded {
  const over = withOutcome(machine, unit.name, state === 'done' ? 'finished' : 'skipped')
  const [shown] = stepsOfUnit(unit.name, 'unit')
  if (shown === undefined) return { machine: over, happenings: [] }
  return shown.gpu === undefined
    ? endStep(over, shown.step.number, { ...times, state, unit })
    : endInstance(over, shown, unit.name, { ...times, state }, unit)
}

function foldUnstarted(machine: Machine, unitName: string, result: string | undefined, atUs: number): Folded {
  const blocked = withOutcome(machine, unitName, 'blocked')
  const unit = machine.snapshots.get(unitName)
  const failure = ownFailure(machine, unitName, unit, result)
  const [shown] = stepsOfUnit(unitName, 'unit')
  if (failure === undefined || shown === undefined || isMoving(machine, shown.gpu))
    return { machine: blocked, happenings: [] }
  const { gpu } = shown
  const { number } = shown.step
  const inInstance =
    gpu === undefined ? blocked : withInstance(blocked, number, unitName, { state: 'failed', endUs: atUs })
  const place = { unit: unitName, startUs: atUs, atUs, failure: failure(number) }
  const attempt = failAttempt(inInstance, number, gpu === undefined ? place : { ...place, gpu })
  const failed = failStep(attempt.machine, number, atUs, atUs, unit)
  return { machine: failed.machine, happenings: [...attempt.happenings, ...failed.happenings] }
}

// Undefined where the cause is another step's failure: only one without any visible cause is a failure of its own.
function ownFailure(
  machine: Machine,
  name: string,
  unit: UnitSnapshot | undefined,
  result: string | undefined,
): ((step: number) => ReportedFailure) | undefined {
  const { failing, healthPort } = machine.state
  if (name === HEALTH_SERVICE && machine.snapshots.get(HEALTH_SOCKET)?.activeState === 'failed')
    return () => portFailure(healthPort)
  if (unit?.activeState === 'failed' && unit.result === 'start-limit-hit')
    return (step) => failureOfUnit(step, unit, [])
  if (failing.length > 0 && result !== 'assert') return undefined
  if (unit !== undefined && hasStarted(machine, unit)) return (step) => stoppedFailure(step, name)
  return (step) => unstartedFailure(step, name, result)
}
