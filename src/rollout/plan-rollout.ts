import type { RejectedGeneration, RolloutRecord } from '../plan/pointers.ts'
import { pin, prove, reject, renderRollout, settle, unpin } from '../plan/rollout-record.ts'

/**
 * How the units of a GPU stand. `up`: ComfyUI and its worker are active, so the evidence is complete. `idle`: ComfyUI is, and
 * nobody has started its worker. `held`: ComfyUI is, and its worker has failed, which says nothing of the generation.
 * `failed`: its ComfyUI failed for good, or lacks its evidence.
 */
export type GpuStanding = 'down' | 'changing' | 'up' | 'idle' | 'held' | 'failed'

/** A GPU in a rollout. */
export interface RolloutGpu {
  readonly name: string
  /** Id of the generation that its pointer names; undefined without a pointer. */
  readonly generation: string | undefined
  readonly standing: GpuStanding
  /** Why it is `failed`. */
  readonly failure?: RejectedGeneration
}

/** What somebody asked for: `comfy-machine update` or `comfy-machine rollback`. */
export interface RolloutRequest {
  readonly schema: 1
  readonly kind: 'update' | 'rollback'
  /** Id of the generation to go to; null where the installer finds it out. */
  readonly generation: string | null
  /** Microseconds since the epoch. */
  readonly atUs: number
}

/** Everything that decides what comes next; a controller that was killed reads the same. */
export interface RolloutFacts {
  readonly current: string | undefined
  /** Id of the whole generation that `next` names; undefined when there is none. */
  readonly next: string | undefined
  /** The canary first. */
  readonly gpus: readonly RolloutGpu[]
  readonly record: RolloutRecord
  readonly request: RolloutRequest | undefined
  /** A rollout was going on when the controller last wrote its state. */
  readonly isOpen: boolean
}

/** How a rollout ended: everywhere, back where it came from, or never begun because it was sent back before. */
export type RolloutEnd = 'done' | 'sent-back' | 'refused'

/** The next thing to do. Every one can be done again. */
export type RolloutStep =
  | { readonly kind: 'idle' }
  | {
      readonly kind: 'record'
      readonly record: RolloutRecord
      readonly why: 'asked' | 'proven' | 'rejected' | 'settled'
    }
  | { readonly kind: 'stop'; readonly gpu: string; readonly goal: string }
  | { readonly kind: 'point'; readonly gpu: string; readonly goal: string }
  | { readonly kind: 'start'; readonly gpu: string; readonly goal: string }
  | { readonly kind: 'wait'; readonly gpu: string; readonly goal: string; readonly isHeld: boolean }
  | { readonly kind: 'make-current'; readonly generation: string }
  | { readonly kind: 'forget-next'; readonly end: RolloutEnd; readonly generation: string }

/** Where a rollout goes: on to `next`, or back to `current`. Undefined when there is none. */
export interface RolloutCourse {
  readonly direction: 'forward' | 'back'
  readonly goal: string
}

/** The course of the rollout that the pointers tell of. */
export function courseOf(facts: RolloutFacts): RolloutCourse | undefined {
  const { current, next, gpus, isOpen } = facts
  if (current === undefined) return undefined
  if (next !== undefined && next !== current && !isRefused(facts, next)) return { direction: 'forward', goal: next }
  const strays = gpus.filter(({ generation }) => generation !== undefined && generation !== current)
  return next !== undefined || strays.length > 0 || isOpen ? { direction: 'back', goal: current } : undefined
}

/**
 * What comes next: the canary, when its evidence is complete the others one by one, at last the pointer of the machine. A
 * GPU whose ComfyUI fails sends the generation back from every GPU that has it; the others are never stopped.
 */
export function planRollout(facts: RolloutFacts): RolloutStep {
  const { current, record } = facts
  const course = courseOf(facts)
  if (current === undefined) return { kind: 'idle' }
  if (course === undefined) return planRest(facts, current)
  return course.direction === 'forward'
    ? planForward(facts, current, course.goal)
    : (planBack(facts, course.goal) ?? planEnd(facts, current, record))
}

// Whether a generation was sent back, and nobody has asked for an update since.
function isRefused({ record, request }: Pick<RolloutFacts, 'record' | 'request'>, generation: string): boolean {
  const rejected = record.rejected[generation]
  if (rejected === undefined) return false
  return request?.kind !== 'update' || request.atUs <= rejected.atUs
}

function planForward(facts: RolloutFacts, current: string, goal: string): RolloutStep {
  const { gpus, record, request } = facts
  const bad = gpus.find(({ generation, standing }) => generation === goal && standing === 'failed')
  if (bad?.failure !== undefined) return { kind: 'record', record: reject(record, goal, bad.failure), why: 'rejected' }
  const isAsked = request?.kind === 'rollback' && request.generation === goal
  const asked = isAsked ? pin(record, goal, current) : record
  if (isChanged(record, asked)) return { kind: 'record', record: asked, why: 'asked' }
  for (const gpu of gpus) {
    const step = gpu.generation === goal ? planStart(gpu, goal) : planMove(gpu, goal)
    if (step !== undefined) return step
    if (!record.proven.includes(goal)) return { kind: 'record', record: prove(record, goal), why: 'proven' }
  }
  const settled = { ...prove(record, goal), previous: current }
  if (isChanged(record, settled)) return { kind: 'record', record: settled, why: 'settled' }
  return { kind: 'make-current', generation: goal }
}

// One after another as well, those first that do not serve. What fails on the generation that is kept has nothing to do with
// the rollout, and does not hold it.
function planBack({ gpus }: RolloutFacts, goal: string): RolloutStep | undefined {
  const isAway = ({ generation }: RolloutGpu): boolean => generation !== undefined && generation !== goal
  for (const gpu of gpus.filter((each) => !isAway(each))) {
    if (gpu.standing === 'held' || gpu.standing === 'failed') continue
    const step = planStart(gpu, goal)
    if (step !== undefined) return step
  }
  const away = gpus.filter(isAway)
  const gpu = away.find(({ standing }) => standing !== 'up') ?? away[0]
  return gpu === undefined ? undefined : planMove(gpu, goal)
}

function planEnd(facts: RolloutFacts, current: string, record: RolloutRecord): RolloutStep {
  const { next, isOpen } = facts
  if (next === undefined) return planRest(facts, current)
  if (next === current) {
    const isHeld = record.pinned === undefined || record.pinned.generation === current
    return isHeld
      ? { kind: 'forget-next', end: 'done', generation: next }
      : { kind: 'record', record: unpin(record), why: 'settled' }
  }
  const end = isOpen && record.rejected[next] !== undefined ? 'sent-back' : 'refused'
  return { kind: 'forget-next', end, generation: next }
}

function planRest({ gpus, record }: RolloutFacts, current: string): RolloutStep {
  const isProof = gpus.length > 0 && gpus.every((gpu) => gpu.generation === current && gpu.standing === 'up')
  const settled = settle(record, current)
  return isProof && record.proven.at(-1) !== current && isChanged(record, settled)
    ? { kind: 'record', record: settled, why: 'settled' }
    : { kind: 'idle' }
}

// A pointer is changed only while nothing runs by it.
function planMove({ name, standing }: RolloutGpu, goal: string): RolloutStep {
  return { kind: standing === 'down' ? 'point' : 'stop', gpu: name, goal }
}

function planStart({ name, standing }: RolloutGpu, goal: string): RolloutStep | undefined {
  if (standing === 'up') return undefined
  if (standing === 'down' || standing === 'idle') return { kind: 'start', gpu: name, goal }
  return { kind: 'wait', gpu: name, goal, isHeld: standing === 'held' }
}

function isChanged(before: RolloutRecord, after: RolloutRecord): boolean {
  return renderRollout(before) !== renderRollout(after)
}
