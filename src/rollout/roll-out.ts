import { messageOf } from '../errors.ts'
import type { Machine } from '../observe/machine.ts'
import { gpuOfUnit } from '../observe/unit-steps.ts'
import { placesOf } from '../plan/places.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { carryOut } from './carry-out.ts'
import { standOf } from './gpu-standing.ts'
import { rolloutLine } from './journal-lines.ts'
import { look, type RolloutContext, showRollout } from './look.ts'
import { courseOf, planRollout } from './plan-rollout.ts'

const INSTALLER_OF_POINTERS = 'comfy-install-nodes.service'
const BUILDING_MS = 2_000
const REST_MS = 60_000
const RETRY_MS = 5_000

/** Shows the canary of a start as soon as its pointers are set, so that what it lacks is no failure of the start. */
export function expectCanary(context: RolloutContext): void {
  const { host, recorder } = context
  const isSet = ({ outcomes }: Machine): boolean => outcomes.get(INSTALLER_OF_POINTERS) === 'active'
  const read = async (): Promise<void> => {
    await recorder.until(isSet, host.signal)
    const { facts } = await look(context)
    const course = courseOf(facts)
    const [canary] = facts.gpus
    if (course?.direction !== 'forward' || canary?.generation !== course.goal || facts.isOpen) return
    const { startedUs } = recorder.machine.state
    const [generation, startUs] = [course.goal, host.clock.nowUs()]
    const move = { gpu: canary.name, direction: 'forward', startUs } as const
    showRollout(recorder, { generation, ...move, sinceUs: startedUs, moves: [move] })
  }
  // A start that is given up tells why itself.
  void read().catch((error: unknown) => {
    if (!host.signal.aborted) recorder.warn(`the pointers to generations could not be read: ${messageOf(error)}`)
  })
}

/** Tells whether the canary of a start lacks its evidence: it is not waited for any longer. */
export function isCanaryBad(machine: Machine, plan: MachinePlan, unit: string): boolean {
  const rollout = machine.state.generations?.rollout
  if (rollout?.gpu === undefined || rollout.gpu === null || gpuOfUnit(unit) !== rollout.gpu) return false
  return standOf(machine, plan, rollout.gpu, rollout.sinceUs).standing === 'failed'
}

/**
 * Finishes or sends back the rollout that a start began, when its units have come to an end. Does nothing when something
 * else than a ComfyUI or a worker failed: then nothing has been tried.
 */
export async function settleRollout(context: RolloutContext): Promise<void> {
  const { recorder } = context
  const isOther = ([unit, outcome]: readonly [string, string]): boolean =>
    gpuOfUnit(unit) === undefined && (outcome === 'failed' || outcome === 'blocked')
  if ([...recorder.machine.outcomes].some(isOther)) return
  for (;;) {
    const { facts } = await look(context)
    if (courseOf(facts) === undefined) return
    const step = planRollout(facts)
    if (step.kind === 'wait' && step.isHeld) return
    await carryOut(context, facts, step)
  }
}

/** Rolls out what `next` names, whenever it does, until the controller is told to stop; takes up what an earlier one left. */
export async function tendRollouts(context: RolloutContext): Promise<void> {
  const { host, recorder } = context
  let bell = new AbortController()
  const stopWatching = watchNext(context, () => bell.abort())
  try {
    while (!host.signal.aborted) {
      bell = new AbortController()
      const restMs = await advance(context).catch((error: unknown) => {
        if (host.signal.aborted) return 0
        const generation = recorder.machine.state.generations?.rollout?.generation ?? ''
        const message = `the rollout is taken up again in ${RETRY_MS / 1000} s: ${messageOf(error)}`
        host.journal.write(rolloutLine(recorder.machine.state, message, { generation, state: 'begun' }, 'warning'))
        return RETRY_MS
      })
      await host.clock.sleep(restMs, AbortSignal.any([host.signal, bell.signal]))
    }
  } finally {
    stopWatching()
  }
}

/** Goes as far as it gets; resolves to how long nothing needs to be looked at unless it is told, ms. */
async function advance(context: RolloutContext): Promise<number> {
  for (;;) {
    const { facts, isBuilding } = await look(context)
    const step = planRollout(facts)
    await carryOut(context, facts, step)
    if (step.kind === 'idle') return isBuilding ? BUILDING_MS : REST_MS
  }
}

function watchNext({ host, plan, recorder }: RolloutContext, onChange: () => void): () => void {
  try {
    return host.files.watch(placesOf(plan.paths.workspace).next, onChange)
  } catch (error) {
    recorder.warn(`a new generation is noticed late, because its pointer cannot be watched: ${messageOf(error)}`)
    return () => undefined
  }
}
