import { formatBytes } from '../emit/bytes.ts'
import { tableLines } from '../emit/table.ts'
import type { GcPlan, RemovalKind } from './gc-plan.ts'

const KINDS: Readonly<Record<RemovalKind, string>> = {
  blob: 'content that nothing wants',
  model: 'model that nothing wants',
  partial: 'unfinished download that nothing wants',
  leftover: 'left by a process that was ended',
}

/** What a collection removes or has removed, for people; in the end the bytes that become free. */
export function gcLines({ removals, freedBytes }: GcPlan, isDone: boolean): readonly string[] {
  if (removals.length === 0) return ['nothing to remove']
  const table = removals.map(({ path, kind, bytes }) => [`- ${path}`, formatBytes(bytes), KINDS[kind]])
  const files = removals.length === 1 ? '1 name' : `${removals.length} names`
  const verb = isDone ? 'removed, free now' : 'to remove, to become free'
  return [...tableLines(table), `${files} ${verb}: ${formatBytes(freedBytes)}`]
}
