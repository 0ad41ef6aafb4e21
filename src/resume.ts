import path from 'node:path'
import { PLAN_FILE } from './apply/files.ts'
import type { Files } from './host/ports.ts'
import { type Identity, type Machine, newMachine, withPlan } from './observe/machine.ts'
import type { MachineState } from './observe/state.ts'
import type { MachinePlan } from './plan/plan.ts'
import { wantedUnits } from './render/unit-values.ts'

/** A startup that another controller began and did not end. */
export interface Unfinished {
  readonly machine: Machine
  readonly plan: MachinePlan
}

const LAST_STEP_BEFORE_UNITS = 11

/**
 * The startup to carry on after the controller died: the one of this boot that was neither ended nor stopped, and whose
 * units are loaded. Its trace goes on under the same id. Undefined when this is a new start.
 */
export async function readUnfinished(files: Files, run: string, identity: Identity): Promise<Unfinished | undefined> {
  const stateText = await files.readText(path.join(run, 'state.json'))
  const planText = await files.readText(path.join(run, PLAN_FILE))
  if (stateText === undefined || planText === undefined) return undefined
  const state = JSON.parse(stateText) as MachineState
  const plan = JSON.parse(planText) as MachinePlan
  return isUnfinished(state, plan, identity) ? { machine: resumedMachine(state, plan, identity), plan } : undefined
}

function isUnfinished(state: MachineState, plan: MachinePlan, identity: Identity): boolean {
  const isOpen = state.phase === 'starting' || state.phase === 'ready' || state.phase === 'degraded'
  const hasUnits = state.steps.every((step) => step.number > LAST_STEP_BEFORE_UNITS || step.state === 'done')
  return (
    isOpen &&
    hasUnits &&
    state.bootId === identity.bootId &&
    plan.traceId === state.traceId &&
    state.version === identity.version
  )
}

function resumedMachine(state: MachineState, plan: MachinePlan, identity: Identity): Machine {
  const planned = withPlan(newMachine(identity), plan, wantedUnits(plan))
  const recordedFailures = new Map(state.failing.map(({ unit, invocationId = '' }) => [unit, invocationId]))
  return { ...planned, state: { ...state, agentPid: identity.agentPid }, attempts: state.failing, recordedFailures }
}
