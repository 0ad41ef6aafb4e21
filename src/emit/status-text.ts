import { describeShortfalls } from '../observe/fold-shortfall.ts'
import type { Machine } from '../observe/machine.ts'
import { rolloutSentence } from '../observe/rollout-sentence.ts'
import { STEPS, stepOf } from '../steps.ts'
import { laterModelsSentence } from './later-models-words.ts'

/** One line for `systemctl status comfy-machine`. */
export function statusText({ state }: Machine): string {
  const [failing] = state.failing
  if (failing !== undefined)
    return `${state.phase}: step ${failing.step} ${failing.stepName}: ${failing.code} ${failing.message.replace(/\.$/, '')}. ${failing.hint}`
  const rollout = rolloutSentence(state)
  if (state.phase !== 'starting') {
    const missing = describeShortfalls(state.shortfalls)
    const serving = rollout ?? `${state.workers.length} workers`
    const loading = laterModelsSentence(state.laterModels)
    const without = missing === '' ? '' : `, but without ${missing}`
    return `${state.phase}: ${serving}${loading === undefined ? '' : `, ${loading}`}${without}`
  }
  if (rollout !== undefined) return `step ${state.step}/${STEPS.length}: ${rollout}`
  const running = state.steps.filter((step) => step.state === 'running').at(-1)
  if (running === undefined) return `step ${state.step}/${STEPS.length}`
  return `step ${running.number}/${STEPS.length} ${stepOf(running.number).title}${running.detail === undefined ? '' : `: ${running.detail}`}`
}
