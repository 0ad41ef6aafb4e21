import type { MachineState } from './state.ts'

/** What a rollout does now, without a full stop; undefined when there is none. */
export function rolloutSentence({ generations }: Pick<MachineState, 'generations'>): string | undefined {
  const rollout = generations?.rollout
  if (generations === undefined || rollout === null || rollout === undefined) return undefined
  const { direction, generation, gpu } = rollout
  if (direction === 'back')
    return gpu === null
      ? `generation ${generation} is being sent back`
      : `${gpu} is being moved back to generation ${generations.current}`
  return gpu === null
    ? `generation ${generation} is being rolled out`
    : `${gpu} is being moved to generation ${generation}`
}
