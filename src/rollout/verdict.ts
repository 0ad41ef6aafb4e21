import { rolloutSentence } from '../observe/rollout-sentence.ts'
import type { MachineState } from '../observe/state.ts'
import type { RejectedGeneration, RolloutRecord } from '../plan/pointers.ts'
import type { Pointers } from './read-pointers.ts'

/** What can be seen of a rollout from outside the controller. */
export interface Seen {
  readonly pointers: Pick<Pointers, 'current' | 'next'>
  readonly record: RolloutRecord
  readonly state: MachineState | undefined
  /** The controller is alive. */
  readonly alive: boolean
}

/** How far a rollout has come: it goes on, is everywhere, was sent back or refused, or nobody carries it on. */
export type Verdict =
  | { readonly kind: 'going'; readonly text: string }
  | { readonly kind: 'done' }
  | { readonly kind: 'rejected'; readonly why: RejectedGeneration | undefined }
  | { readonly kind: 'left'; readonly reason: string }

/** Judges the rollout of a generation that was asked for before. */
export function judgeRollout({ pointers, record, state, alive }: Seen, generation: string): Verdict {
  if (state === undefined || !alive || state.phase === 'stopped' || state.phase === 'failed')
    return { kind: 'left', reason: `the machine is ${alive ? (state?.phase ?? 'gone') : 'not running'}` }
  const text = rolloutSentence(state)
  if (text !== undefined || pointers.next === generation)
    return { kind: 'going', text: text ?? `generation ${generation} waits for the controller` }
  return pointers.current === generation ? { kind: 'done' } : { kind: 'rejected', why: record.rejected[generation] }
}
