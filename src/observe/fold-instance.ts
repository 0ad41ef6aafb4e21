import type { UnitSnapshot } from '../host/ports.ts'
import type { Attributes } from '../report.ts'
import { endStep, type Folded } from './fold-step.ts'
import { type Machine, stepState, type UnitOutcome, withStep } from './machine.ts'
import type { InstanceState, StepPhase, UnitState } from './state.ts'
import type { UnitStep } from './unit-steps.ts'

const byName = new Intl.Collator('en', { numeric: true })

/** How a step ended for one GPU. */
export interface InstanceEnd {
  readonly state: 'done' | 'skipped'
  readonly startUs: number
  readonly endUs: number
  readonly attributes?: Attributes
}

/** Ends a step for one GPU. The step is done when the last of its instances is; it spans from the first start to the last end. */
export function endInstance(
  machine: Machine,
  shown: UnitStep,
  unitName: string,
  end: InstanceEnd,
  unit: UnitSnapshot | undefined,
): Folded {
  const number = shown.step.number
  const { state, startUs, endUs: atUs } = end
  const after = withInstance(machine, number, unitName, { state, startUs, endUs: atUs })
  const step = stepState(after, number)
  const { instances } = step
  const before = stepState(machine, number).instances.find((each) => each.unit === unitName)
  const isFirst = before !== undefined && !isOver(before) && machine.state.readyUs === undefined
  const told = instances
    .filter((each) => isFirst && each.unit === unitName)
    .map((instance) => ({ kind: 'instance-ended', step, instance }) as const)
  if (!instances.every(isOver)) return { machine: after, happenings: told }
  const whole = {
    startUs: Math.min(...instances.map((each) => each.startUs ?? startUs)),
    endUs: Math.max(...instances.map((each) => each.endUs ?? atUs)),
    state: instances.every((each) => each.state === 'skipped') ? ('skipped' as const) : ('done' as const),
    ...(end.attributes === undefined ? {} : { attributes: end.attributes }),
  }
  const folded = endStep(after, number, unit === undefined ? whole : { ...whole, unit })
  return { machine: folded.machine, happenings: [...told, ...folded.happenings] }
}

const isOver = ({ state }: InstanceState): boolean => state === 'done' || state === 'skipped'

/** The machine with one instance of a per-GPU step changed. */
export function withInstance(
  machine: Machine,
  number: number,
  unit: string,
  change: Partial<InstanceState> & { state: StepPhase },
): Machine {
  const instances = stepState(machine, number).instances.map((each) =>
    each.unit === unit ? { ...each, ...change } : each,
  )
  return withStep(machine, number, { instances })
}

/** The machine with the outcome of one wanted unit changed. */
export function withOutcome(machine: Machine, unit: string, outcome: UnitOutcome): Machine {
  if (machine.outcomes.get(unit) === outcome) return machine
  return { ...machine, outcomes: new Map(machine.outcomes).set(unit, outcome) }
}

/** The machine knowing the last snapshot of a unit. */
export function remember(machine: Machine, unit: UnitSnapshot): Machine {
  const shown: UnitState = {
    name: unit.name,
    activeState: unit.activeState,
    subState: unit.subState,
    result: unit.result,
    mainPid: unit.mainPid,
    restarts: unit.restarts,
    statusText: unit.statusText,
    invocationId: unit.invocationId,
  }
  const { units: before } = machine.state
  const units = before.some((each) => each.name === unit.name)
    ? before.map((each) => (each.name === unit.name ? shown : each))
    : [...before, shown].sort((a, b) => byName.compare(a.name, b.name))
  return { ...machine, state: { ...machine.state, units }, snapshots: new Map(machine.snapshots).set(unit.name, unit) }
}
