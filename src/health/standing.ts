import { laterModelsSentence } from '../emit/later-models-words.ts'
import { definitionOf } from '../errors.ts'
import { describeShortfalls } from '../observe/fold-shortfall.ts'
import { rolloutSentence } from '../observe/rollout-sentence.ts'
import type { MachinePhase, MachineState, StepState } from '../observe/state.ts'
import type { Sighting } from './record.ts'

/** Where the machine stands, as its reports say it. */
export interface Standing {
  readonly phase: MachinePhase | 'unknown'
  /** The host agent is alive and at work. */
  readonly healthy: boolean
  /** The machine takes jobs: step 21 is done and still true. */
  readonly ready: boolean
  /** One sentence without a full stop. */
  readonly reason: string
}

/** Judges what was seen: a record without its agent is never healthy and never ready. */
export function judge(sighting: Sighting): Standing {
  const { state } = sighting
  const no = { healthy: false, ready: false }
  if (sighting.trouble !== undefined) return { ...no, phase: 'unknown', reason: sighting.trouble }
  if (state === undefined) return { ...no, phase: 'unknown', reason: definitionOf('CM0003').sentence }
  const { phase } = state
  if (phase === 'stopped') return { ...no, phase, reason: 'the machine is stopped' }
  if (phase === 'failed') return { ...no, phase, reason: failureReason(state) }
  if (!sighting.alive) {
    return { ...no, phase, reason: `the host agent (pid ${state.agentPid}) has ended; its last word was ${phase}` }
  }
  const rollout = rolloutSentence(state)
  if (phase === 'ready') return { phase, healthy: true, ready: true, reason: readyReason(state) }
  const isPlanned = rollout !== undefined && state.failing.length === 0
  const reason =
    phase === 'degraded'
      ? `the machine was ready and is not now: ${isPlanned ? rollout : failureReason(state)}`
      : (rollout ?? progress(state))
  return { phase, healthy: true, ready: false, reason }
}

/** The steps that are going on now, lowest number first. */
function runningSteps(state: MachineState): readonly StepState[] {
  return state.steps.filter((step) => step.state === 'running')
}

/** How many steps are done or skipped. */
export function finishedCount(state: MachineState): number {
  return state.steps.filter((step) => step.state === 'done' || step.state === 'skipped').length
}

function progress(state: MachineState): string {
  const running = runningSteps(state).map((step) => `step ${step.number} ${step.title}`)
  if (running.length === 0) return `${finishedCount(state)} of ${state.steps.length} steps are done`
  return `${running.join(', ')} ${running.length === 1 ? 'is' : 'are'} going on`
}

function readyReason(state: MachineState): string {
  const missing = describeShortfalls(state.shortfalls)
  const active = rolloutSentence(state) ?? 'every wanted unit is active'
  const isLoading = laterModelsSentence(state.laterModels) !== undefined
  const serving = isLoading ? `${active}, and further models are loaded` : active
  return missing === '' ? serving : `${serving}, but without ${missing}`
}

function failureReason(state: MachineState): string {
  const [first, ...others] = state.failing
  if (first === undefined) return `a step ${state.phase === 'failed' ? 'failed' : 'is failing'}`
  const more = others.length === 0 ? '' : ` (and ${others.length} more)`
  return `step ${first.step} ${first.stepName} failed, ${first.code}: ${first.message}${more}`
}
