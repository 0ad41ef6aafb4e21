import type { Machine } from './observe/machine.ts'
import type { RolloutContext } from './rollout/look.ts'
import { expectCanary, isCanaryBad, settleRollout } from './rollout/roll-out.ts'

/**
 * Resolves when every wanted unit has come to an end of its start, and a generation that was new is on every GPU or sent back;
 * a unit that failed for good fails the start.
 */
export async function untilSettled(context: RolloutContext): Promise<void> {
  const { host, plan, recorder } = context
  expectCanary(context)
  const isPending = (machine: Machine, isBad: (unit: string) => boolean): boolean =>
    [...machine.outcomes].some(([unit, outcome]) => outcome === 'pending' && !isBad(unit))
  const isBad = (unit: string): boolean => isCanaryBad(recorder.machine, plan, unit)
  await recorder.until((machine) => !isPending(machine, isBad), host.signal)
  await settleRollout(context)
  await recorder.until((machine) => !isPending(machine, () => false), host.signal)
  const failed = unitsThat(recorder.machine, (outcome) => outcome === 'failed' || outcome === 'blocked')
  if (failed.length > 0) throw new StartFailure(`${failed.join(', ')} did not start`)
}

/** A start that ended because units failed; their steps tell why. */
export class StartFailure extends Error {}

/** Names of the wanted units whose outcome fits. */
export function unitsThat(machine: Machine, fits: (outcome: string) => boolean): readonly string[] {
  return [...machine.outcomes].filter(([, outcome]) => fits(outcome)).map(([unit]) => unit)
}
