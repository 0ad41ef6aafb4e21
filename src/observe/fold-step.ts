import { definitionOf } from '../errors.ts'
import type { UnitSnapshot } from '../host/ports.ts'
import type { Attributes, ReportChild, ReportedFailure } from '../report.ts'
import { stepOf } from '../steps.ts'
import { type Happening, isDone, type Machine, stepState, withStep } from './machine.ts'
import type { FailingState, MachinePhase, StepState, UnitEnd } from './state.ts'

// A unit that dies for months must not fill the state.
const KEPT_ATTEMPTS = 200

/** A machine after something happened, and what is to be told about it. */
export interface Folded {
  readonly machine: Machine
  readonly happenings: readonly Happening[]
}

/** How a step ended well. Times: microseconds since the epoch. */
export interface StepEnd {
  readonly startUs: number
  readonly endUs: number
  readonly state: 'done' | 'skipped'
  readonly attributes?: Attributes
  readonly unit?: UnitSnapshot
  readonly children?: readonly ReportChild[]
}

/** A failed attempt of a step; `unit` names what failed. */
export interface AttemptFailure {
  readonly unit: string
  readonly gpu?: string
  readonly startUs: number
  readonly atUs: number
  readonly failure: ReportedFailure
  /** How systemd saw the unit end, where a unit failed. */
  readonly end?: UnitEnd
}

/** Marks a step as running since `atUs`. */
export function beginStep(machine: Machine, number: number, atUs: number): Machine {
  return withStep(machine, number, { state: 'running', startUs: atUs })
}

/** Ends a step once; a step that has ended before is left as it is. */
export function endStep(machine: Machine, number: number, end: StepEnd): Folded {
  if (isDone(machine, number)) return { machine, happenings: [] }
  const before = stepState(machine, number)
  const after = withStep(machine, number, {
    state: end.state,
    startUs: end.startUs,
    endUs: end.endUs,
    attributes: { ...before.attributes, ...end.attributes },
    ...(end.unit === undefined ? {} : unitOf(end.unit)),
  })
  return { machine: after, happenings: [ended(after, number, end.unit, end.children ?? [])] }
}

/** Records a failed attempt of a step, which may still be tried again. */
export function failAttempt(machine: Machine, number: number, attempt: AttemptFailure): Folded {
  const { attempts } = machine.state
  const before = attempts.findLast((other) => other.step === number && other.unit === attempt.unit)
  const failing: FailingState = {
    ...attempt.failure,
    ...attempt.end,
    step: number,
    stepName: stepOf(number).title,
    unit: attempt.unit,
    ...(attempt.gpu === undefined ? {} : { gpu: attempt.gpu }),
    run: definitionOf(attempt.failure.code).run,
    atUs: attempt.atUs,
    attempt: (before?.attempt ?? 0) + 1,
  }
  const counted = withStep(machine, number, { attempts: stepState(machine, number).attempts + 1 })
  const others = counted.state.failing.filter((other) => other.step !== number || other.unit !== attempt.unit)
  const kept = [...attempts, failing].slice(-KEPT_ATTEMPTS)
  const state = { ...counted.state, failing: [...others, failing], attempts: kept }
  const afterReady = machine.state.readyUs !== undefined
  return {
    machine: { ...counted, state },
    happenings: [{ kind: 'attempt-failed', failing, startUs: attempt.startUs, afterReady }],
  }
}

/** Marks the last failed attempt of a unit as the one after which systemd gave it up. */
export function giveUp(machine: Machine, unit: string): Machine {
  const { state } = machine
  const last = state.attempts.findLast((each) => each.unit === unit)
  const mark = (each: FailingState): FailingState => {
    if (last === undefined || !isSameAttempt(each, last)) return each
    const { willRestart: _, ...rest } = each
    return { ...rest, givenUp: true }
  }
  return { ...machine, state: { ...state, failing: state.failing.map(mark), attempts: state.attempts.map(mark) } }
}

/** Tells whether two entries are of one failed attempt. */
export function isSameAttempt(one: FailingState, other: FailingState): boolean {
  return one.step === other.step && one.unit === other.unit && one.attempt === other.attempt
}

/** Ends a step as failed; its last failed attempt has been recorded before. */
export function failStep(machine: Machine, number: number, startUs: number, atUs: number, unit?: UnitSnapshot): Folded {
  const before = stepState(machine, number)
  if (before.state === 'failed') return { machine, happenings: [] }
  const name = unit === undefined ? {} : unitOf(unit)
  const after = withStep(machine, number, { state: 'failed', startUs: Math.min(startUs, atUs), endUs: atUs, ...name })
  return { machine: after, happenings: [ended(after, number, unit, [])] }
}

/** Moves the machine to another phase; nothing happens when it is there already. */
export function enterPhase(machine: Machine, phase: MachinePhase, atUs: number): Folded {
  if (machine.state.phase === phase) return { machine, happenings: [] }
  const ready = phase === 'ready' && machine.state.readyUs === undefined ? { readyUs: atUs } : {}
  const after = { ...machine, state: { ...machine.state, phase, ...ready } }
  return { machine: after, happenings: [{ kind: 'phase-changed', phase }] }
}

/** Adds evidence (versions, counts) to what `/status` shows. */
export function addEvidence(machine: Machine, evidence: Attributes): Machine {
  return { ...machine, state: { ...machine.state, evidence: { ...machine.state.evidence, ...evidence } } }
}

function ended(
  machine: Machine,
  number: number,
  unit: UnitSnapshot | undefined,
  children: readonly ReportChild[],
): Happening {
  const attempts = machine.state.attempts.filter((attempt) => attempt.step === number)
  return { kind: 'step-ended', step: stepState(machine, number), unit, children, attempts }
}

const unitOf = ({ name, invocationId }: UnitSnapshot): Pick<StepState, 'unit' | 'invocationId'> =>
  invocationId === '' ? { unit: name } : { unit: name, invocationId }
