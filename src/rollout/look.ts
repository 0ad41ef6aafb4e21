import type { Recorder } from '../emit/recorder.ts'
import type { Manager } from '../host/ports.ts'
import type { MachineHost } from '../machine-host.ts'
import type { Follower } from '../observe/follow.ts'
import type { GenerationsState, RolloutState } from '../observe/state.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { standOf } from './gpu-standing.ts'
import type { RolloutFacts } from './plan-rollout.ts'
import { readPointers, readRecord, readRequest } from './read-pointers.ts'

/** What a rollout works with. */
export interface RolloutContext {
  readonly host: Pick<MachineHost, 'clock' | 'files' | 'journal' | 'signal' | 'tellHub'>
  readonly recorder: Recorder
  readonly manager: Manager
  readonly follower: Follower
  readonly plan: MachinePlan
}

/** What was seen of generations, and whether one is being built. */
export interface Look {
  readonly facts: RolloutFacts
  readonly isBuilding: boolean
}

/** Reads the pointers, the record and the units as they were followed, and shows them in the state of the machine. */
export async function look({ host, recorder, plan }: RolloutContext): Promise<Look> {
  const { files } = host
  const { workspace } = plan.paths
  const names = plan.instances.map(({ gpu }) => gpu)
  const [pointers, record, request] = await Promise.all([
    readPointers(files, workspace, names),
    readRecord(files, workspace),
    readRequest(files),
  ])
  const rollout = recorder.machine.state.generations?.rollout ?? null
  const gpus = names.map((name) => {
    const sinceUs = rollout?.gpu === name ? rollout.sinceUs : null
    return { name, generation: pointers.gpus.get(name), ...standOf(recorder.machine, plan, name, sinceUs) }
  })
  show(recorder, {
    current: pointers.current ?? null,
    previous: record.previous,
    gpus: Object.fromEntries(pointers.gpus),
  })
  const { current, next, isBuilding } = pointers
  return { facts: { current, next, gpus, record, request, isOpen: rollout !== null }, isBuilding }
}

/** Shows in the state what a rollout does now; null ends it. */
export function showRollout(recorder: Recorder, rollout: RolloutState | null): void {
  show(recorder, { rollout })
}

/** Shows changed facts of generations in the state; nothing is written when they are as before. */
export function show(recorder: Recorder, change: Partial<GenerationsState>): void {
  const { state } = recorder.machine
  const before = state.generations
  const none: GenerationsState = { current: null, previous: null, gpus: {}, rollout: null, rejected: null }
  const generations = { ...(before ?? none), ...change }
  if (JSON.stringify(generations) === JSON.stringify(before)) return
  recorder.replace({ ...recorder.machine, state: { ...state, generations } })
}
