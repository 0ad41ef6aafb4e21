import { NO_ROLLOUT, type PinnedGeneration, type RejectedGeneration, type RolloutRecord } from './pointers.ts'

// Generations come and go for years; what was proved or sent back long ago is not there any more.
const KEPT = 20

/** The record in a text of `comfyui/rollout.json`; what is no record of this schema counts as none. */
export function parseRollout(text: string | undefined): RolloutRecord {
  if (text === undefined) return NO_ROLLOUT
  try {
    const value = JSON.parse(text) as RolloutRecord | null
    return value?.schema === 1 && Array.isArray(value.proven) ? value : NO_ROLLOUT
  } catch (error) {
    if (error instanceof SyntaxError) return NO_ROLLOUT
    throw error
  }
}

/** The text of a record. */
export function renderRollout(record: RolloutRecord): string {
  return `${JSON.stringify(record, null, 2)}\n`
}

/** A generation has proved itself on a GPU; that it was sent back before is forgotten. */
export function prove(record: RolloutRecord, generation: string): RolloutRecord {
  const { [generation]: _, ...rejected } = record.rejected
  const others = record.proven.filter((each) => each !== generation)
  return { ...record, proven: [...others, generation].slice(-KEPT), rejected }
}

/** A proven generation is what the machine is on now. */
export function settle(record: RolloutRecord, generation: string): RolloutRecord {
  const before = record.proven.findLast((each) => each !== generation)
  return { ...prove(record, generation), previous: before ?? record.previous }
}

/** A generation is sent back: it proves nothing any more, and nothing holds the machine on it. */
export function reject(record: RolloutRecord, generation: string, why: RejectedGeneration): RolloutRecord {
  const all = Object.entries({ ...record.rejected, [generation]: why })
  const kept = all.sort(([, a], [, b]) => a.atUs - b.atUs).slice(-KEPT)
  const { pinned, ...rest } = record
  return {
    ...rest,
    ...(pinned === undefined || pinned.generation === generation ? {} : { pinned }),
    proven: record.proven.filter((each) => each !== generation),
    rejected: Object.fromEntries(kept),
  }
}

/**
 * A rollback from `current` to `generation` is asked for: the machine is held there as long as it wants what it wants now.
 * Back to what it wants nothing is held.
 */
export function pin(record: RolloutRecord, generation: string, current: string): RolloutRecord {
  const { pinned } = record
  if (pinned?.generation === generation) return record
  const wish = pinned?.generation === current ? pinned.wish : current
  return wish === generation ? record : { ...record, pinned: { generation, wish } satisfies PinnedGeneration }
}

/** The machine is on a generation that was not rolled back to. */
export function unpin({ pinned: _, ...record }: RolloutRecord): RolloutRecord {
  return record
}
