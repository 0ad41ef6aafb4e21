import path from 'node:path'
import { PLAN_FILE } from './apply/files.ts'
import type { Recorder } from './emit/recorder.ts'
import { stepSpanId } from './emit/spans.ts'
import type { Files } from './host/ports.ts'
import { type Identity, type Machine, newMachine, withPlan, withStep } from './observe/machine.ts'
import type { MachineState, StepState } from './observe/state.ts'
import type { MachinePlan } from './plan/plan.ts'
import { wantedUnits } from './render/unit-values.ts'
import { stepOf } from './steps.ts'

/** A startup that another controller began and did not end. */
export interface Unfinished {
  readonly machine: Machine
  /** Absent when its units were not loaded yet: everything is done again, under the same trace. */
  readonly plan: MachinePlan | undefined
}

const LAST_STEP_BEFORE_UNITS = 11

/**
 * The startup to carry on after the controller died: the one of this boot that was neither ended nor stopped. Its trace
 * goes on under the same id. Undefined when this is a new start.
 */
export async function readUnfinished(files: Files, run: string, identity: Identity): Promise<Unfinished | undefined> {
  const state = parse<MachineState>(await files.readText(path.join(run, 'state.json')))
  if (state === undefined || state.bootId !== identity.bootId || state.version !== identity.version) return undefined
  const plan = parse<MachinePlan>(await files.readText(path.join(run, PLAN_FILE)))
  const isOpen = state.phase === 'starting' || state.phase === 'ready' || state.phase === 'degraded'
  if (!isOpen) return undefined
  const resumed = { ...state, agentPid: identity.agentPid, restarts: (state.restarts ?? 0) + 1 }
  if (plan !== undefined && plan.traceId === state.traceId && hasUnits(state)) return carriedOn(resumed, plan, identity)
  // What failed before has its span; it would be told twice.
  if (state.phase !== 'starting' || state.steps.some((step) => step.state === 'failed')) return undefined
  return { machine: { ...newMachine(identity), state: resumed }, plan: undefined }
}

function hasUnits(state: MachineState): boolean {
  return state.steps.every((step) => step.number > LAST_STEP_BEFORE_UNITS || step.state === 'done')
}

function carriedOn(state: MachineState, plan: MachinePlan, identity: Identity): Unfinished {
  const planned = withPlan(newMachine(identity), plan, wantedUnits(plan))
  const recordedFailures = new Map(state.attempts.map(({ unit, invocationId = '' }) => [unit, invocationId]))
  return { machine: { ...planned, state, recordedFailures }, plan }
}

/**
 * Tells the ends of steps again that the state knows and the trace may not: the controller died in between. A step of a
 * unit is opened anew, so that it ends once more from what systemd and the unit's report say; any other is told from the state.
 */
export function retell(recorder: Recorder, known: ReadonlySet<string>): void {
  const { traceId } = recorder.machine.state
  const isKnown = (step: StepState): boolean => {
    const invocation = step.instances.length === 0 ? step.invocationId : undefined
    return known.has(stepSpanId(traceId, step.number, invocation))
  }
  for (const step of recorder.machine.state.steps) {
    if (step.state === 'pending' || step.state === 'running' || isKnown(step)) continue
    if (step.number > LAST_STEP_BEFORE_UNITS && stepOf(step.number).owner.kind === 'unit')
      recorder.replace(reopened(recorder.machine, step))
    else recorder.tellAgain(endOf(recorder.machine, step))
  }
}

function reopened(machine: Machine, step: StepState): Machine {
  const instances = step.instances.map((instance) => ({ ...instance, state: 'pending' as const }))
  return withStep(machine, step.number, { state: 'pending', instances })
}

function endOf(machine: Machine, step: StepState): Parameters<Recorder['tellAgain']>[0] {
  const attempts = machine.state.attempts.filter((attempt) => attempt.step === step.number)
  return { kind: 'step-ended', step, unit: undefined, children: [], attempts }
}

function parse<T>(text: string | undefined): T | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as T)
}
