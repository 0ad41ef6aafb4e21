/** `comfyui/rollout.json`, written by the controller only: what it knows of generations. */
export interface RolloutRecord {
  readonly schema: 1
  /** Generations whose evidence was complete on a GPU of this machine, oldest first. */
  readonly proven: readonly string[]
  /** What was current before; `comfy-machine rollback` goes there. */
  readonly previous: string | null
  /** Generations that were sent back, by id. */
  readonly rejected: Readonly<Record<string, RejectedGeneration>>
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
  /** same: nothing changes. first: nothing that proved itself is there. canary: one GPU tries. rejected: it was tried already. */
  readonly how: 'same' | 'first' | 'canary' | 'rejected'
  readonly current: string
  /** Pointer to the generation that is tried; null when there is none. */
  readonly next: string | null
  readonly gpus: ReadonlyMap<string, string>
}

/**
 * Decides over the pointers of a start. A generation that has not proved itself goes to the first GPU only, as long as there
 * is one to go back to; the controller moves the others, see `src/rollout.ts`.
 */
export function planPointers({ current, wanted, rollout, gpus }: PointerFacts): PointerPlan {
  const all = (generation: string): ReadonlyMap<string, string> => new Map(gpus.map((gpu) => [gpu, generation]))
  if (current === wanted) return { how: 'same', current, next: null, gpus: all(current) }
  const canReturn = current !== undefined && rollout.proven.includes(current)
  if (!canReturn) return { how: 'first', current: wanted, next: null, gpus: all(wanted) }
  if (Object.hasOwn(rollout.rejected, wanted)) return { how: 'rejected', current, next: null, gpus: all(current) }
  const [canary, ...others] = gpus
  const pointers = new Map(others.map((gpu) => [gpu, current]))
  if (canary !== undefined) pointers.set(canary, wanted)
  return { how: 'canary', current, next: wanted, gpus: pointers }
}
