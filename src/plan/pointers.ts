/** `comfyui/rollout.json`, written by the controller while it runs: what it knows of generations. */
export interface RolloutRecord {
  readonly schema: 1
  /** Generations whose evidence was complete on a GPU of this machine; the one that proved itself last comes last. */
  readonly proven: readonly string[]
  /** What was current before; `comfy-machine rollback` goes there. */
  readonly previous: string | null
  /** Where a rollback holds the machine; absent when it is on what it wants. */
  readonly pinned?: PinnedGeneration
  /** Generations that were sent back, by id. */
  readonly rejected: Readonly<Record<string, RejectedGeneration>>
}

/** A rollback: the machine stays on `generation` as long as what it wants is still `wish`. */
export interface PinnedGeneration {
  readonly generation: string
  readonly wish: string
}

/** Why a generation was sent back. */
export interface RejectedGeneration {
  readonly atUs: number
  readonly gpu: string
  readonly unit: string
  readonly code: string
  readonly message: string
  /** The last lines of the ComfyUI that tried it. */
  readonly lines: readonly string[]
}

/** The record of a machine that has not rolled anything out. */
export const NO_ROLLOUT: RolloutRecord = { schema: 1, proven: [], previous: null, rejected: {} }

/** What decides over the pointers when everything is installed and no ComfyUI runs. */
export interface PointerFacts {
  /** Id of the generation that the machine was on, if it is whole. */
  readonly current: string | undefined
  /** Id of the generation that the machine is to be on. */
  readonly wanted: string
  readonly rollout: RolloutRecord
  /** Names of the GPUs, the canary first. */
  readonly gpus: readonly string[]
}

/** Where the pointers are to point. */
export interface PointerPlan {
  /**
   * same: nothing changes. first: nothing that proved itself is there. proven: it ran here before. canary: one GPU tries.
   * rejected: it was tried already. pinned: the machine was rolled back from what it wants.
   */
  readonly how: 'same' | 'first' | 'proven' | 'canary' | 'rejected' | 'pinned'
  readonly current: string
  /** Pointer to the generation that is tried, or that is not tried again; null when there is none. */
  readonly next: string | null
  readonly gpus: ReadonlyMap<string, string>
}

/**
 * Decides over the pointers of a start. A generation that has not proved itself goes to the first GPU only, as long as there
 * is one to go back to; the controller moves the others, see `src/rollout/`. One that was sent back is only named by `next`:
 * the controller says so at each start and removes the pointer.
 */
export function planPointers({ current, wanted, rollout, gpus }: PointerFacts): PointerPlan {
  const all = (generation: string): ReadonlyMap<string, string> => new Map(gpus.map((gpu) => [gpu, generation]))
  const { pinned, proven, rejected } = rollout
  if (pinned !== undefined && pinned.wish === wanted)
    return { how: 'pinned', current: pinned.generation, next: null, gpus: all(pinned.generation) }
  if (current === wanted) return { how: 'same', current, next: null, gpus: all(current) }
  if (proven.includes(wanted)) return { how: 'proven', current: wanted, next: null, gpus: all(wanted) }
  const canReturn = current !== undefined && proven.includes(current)
  if (!canReturn) return { how: 'first', current: wanted, next: null, gpus: all(wanted) }
  if (Object.hasOwn(rejected, wanted)) return { how: 'rejected', current, next: wanted, gpus: all(current) }
  const pointers = new Map(gpus.map((gpu, index) => [gpu, index === 0 ? wanted : current]))
  return { how: 'canary', current, next: wanted, gpus: pointers }
}
