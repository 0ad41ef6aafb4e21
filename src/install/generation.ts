import type { MachineLock } from './machine-lock.ts'

/** `.complete` of a generation, written last: the generation is whole. */
export interface CompleteRecord {
  readonly schema: 1
  readonly generation: string
}

/** What a lock says but for the id, which is a hash of it, and the models, which are no part of a generation. */
export type LockContent = Omit<MachineLock, 'generation'>

/**
 * Id of a generation, 16 hex digits; equal content has an equal id, also on another host. What was left out is told by
 * what is in, and what is expected of it is no content: models and classes of nodes.
 */
export function generationId(lock: LockContent, digest: (text: string) => string): string {
  const { schema, wish, comfyui, python, requirements } = lock
  const nodes = lock.nodes.map(({ classes: _, ...node }) => node)
  return digest(canonical({ schema, wish, comfyui, python, nodes, requirements })).slice(0, 16)
}

/** JSON whose objects have their names in order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_name, each: unknown) => {
    if (typeof each !== 'object' || each === null || Array.isArray(each)) return each
    return Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

/** True for a text that can be the id of a generation. */
export function isGenerationId(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text)
}

/** A whole generation by its id and when it became whole. */
export interface WholeGeneration {
  readonly id: string
  readonly completeMs: number
}

/** Whole generations that can go: all but the named ones, and as many of the newest as are missing to `keep`. */
export function chooseObsolete(
  generations: readonly WholeGeneration[],
  named: ReadonlySet<string>,
  keep: number,
): readonly string[] {
  const others = generations.filter(({ id }) => !named.has(id)).toSorted((a, b) => b.completeMs - a.completeMs)
  return others.slice(Math.max(0, keep - (generations.length - others.length))).map(({ id }) => id)
}
