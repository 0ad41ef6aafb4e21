import path from 'node:path'
import { type Action, execute } from './apply/actions.ts'
import { hostExecutors } from './apply/executors.ts'
import { messageOf } from './errors.ts'
import type { ManagerEvent, UnitSnapshot } from './host/ports.ts'
import type { WantedModel } from './install/components.ts'
import type { Machine } from './observe/machine.ts'
import { LOCK_FILE, placesOf } from './plan/places.ts'
import { LATER_MODELS } from './plan/plan.ts'
import type { RolloutContext } from './rollout/look.ts'

const UPDATE = 'comfy-update.service'

/** Everything that decides whether models are to be loaded now; a controller that was killed reads the same. */
export interface LaterFacts {
  /** Models of the generation that the machine is on, which may come after the start. */
  readonly wanted: number
  readonly unit: UnitSnapshot
  /** When that may last have become other models, microseconds since the epoch: an update ended, the pointer was set. */
  readonly changedUs: number
  /** When this startup began, CLOCK_MONOTONIC. */
  readonly startedMonoUs: number
}

/**
 * What has the models loaded that the machine has begun without; nothing while that goes on, or has been done since they
 * last changed. A run that failed is tried again by systemd alone.
 */
export function planLoading({ wanted, unit, changedUs, startedMonoUs }: LaterFacts): readonly Action[] {
  const begin = [
    { kind: 'reset-failed', unit: LATER_MODELS },
    { kind: 'start', unit: LATER_MODELS },
  ] as const
  const isFresh = unit.inactiveExitMonoUs < startedMonoUs
  if (isFresh) return wanted === 0 || unit.jobId !== 0 ? [] : begin
  const isUp = unit.activeState === 'active'
  const isOver = isUp || unit.activeState === 'failed' || unit.activeState === 'inactive'
  const isOutdated = unit.inactiveExitUs < changedUs
  // What it loads now may be outdated as well: it is looked at again when that has ended.
  if (!isOutdated || !isOver || unit.subState.includes('auto-restart')) return []
  return isUp ? [{ kind: 'stop', unit: LATER_MODELS }, ...begin] : begin
}

/** Has the models loaded that may come after the start, now and whenever they become others; the result stops that. */
export function tendLaterModels(context: RolloutContext): () => void {
  const { host, manager, recorder } = context
  let turn = Promise.resolve()
  const look = (): void => {
    turn = turn
      .then(() => load(context))
      .catch((error: unknown) => {
        if (!host.signal.aborted) recorder.warn(`models for after the start are not loaded: ${messageOf(error)}`)
      })
  }
  let seen = sightOf(recorder.machine)
  const stopWatching = recorder.onChange(() => {
    const before = seen
    seen = sightOf(recorder.machine)
    if (seen.current !== before.current || (seen.state !== before.state && seen.state !== 'running')) look()
    if (seen.state !== before.state) void host.tellHub('event_driven')
  })
  const stopFollowing = manager.follow((event) => {
    if (event.kind === 'up' || isEndOfUpdate(event)) look()
  })
  look()
  return () => {
    stopWatching()
    stopFollowing()
  }
}

function sightOf({ state }: Machine) {
  return { current: state.generations?.current, state: state.laterModels?.state }
}

function isEndOfUpdate(event: ManagerEvent): boolean {
  if (event.kind !== 'unit' || event.unit.name !== UPDATE) return false
  return event.unit.activeState === 'inactive' || event.unit.activeState === 'failed'
}

async function load({ host, manager, recorder, plan }: RolloutContext): Promise<void> {
  const { files, signal } = host
  const { current } = placesOf(plan.paths.workspace)
  const [lock, pointer] = await Promise.all([files.readForeign(path.join(current, LOCK_FILE)), files.lstat(current)])
  const { models = [] } = JSON.parse(lock ?? '{}') as { readonly models?: readonly WantedModel[] }
  const [unit, update] = await manager.snapshots([LATER_MODELS, UPDATE])
  if (unit === undefined || signal.aborted) return
  const facts: LaterFacts = {
    wanted: models.filter(({ when }) => when === 'after_start').length,
    unit,
    changedUs: Math.max(update?.inactiveEnterUs ?? 0, (pointer?.mtimeMs ?? 0) * 1000),
    startedMonoUs: recorder.machine.state.startedMonoUs,
  }
  for (const action of planLoading(facts)) await execute(hostExecutors(files, manager), action)
}
