import path from 'node:path'
import { tableLines } from '../emit/table.ts'
import { formatTime } from '../health/format.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import type { MachineLock } from '../install/machine-lock.ts'
import { COMPLETE_FILE, LOCK_FILE, placesOf } from '../plan/places.ts'
import type { RejectedGeneration, RolloutRecord } from '../plan/pointers.ts'
import { type Pointers, readPointers, readRecord, readWholeGenerations } from '../rollout/read-pointers.ts'
import { readMachineNow } from './machine-now.ts'

/** What is known of a generation that is there. */
export interface GenerationRow {
  readonly id: string
  readonly commit: string | null
  /** The tag, branch or commit of ComfyUI that was chosen. */
  readonly ref: string | null
  readonly nodes: number | null
  readonly built_at: string
  readonly states: readonly ('current' | 'next' | 'previous' | 'pinned' | 'proven' | 'rejected')[]
  /** Names of the GPUs whose ComfyUI runs it. */
  readonly gpus: readonly string[]
  readonly rejected: RejectedGeneration | null
}

/** `comfy-machine generations`: every whole generation of this machine, the newest first. */
export async function generationsCommand({ json }: { readonly json: boolean }, terminal: Terminal): Promise<number> {
  const { workspace } = await readMachineNow()
  const places = placesOf(workspace)
  const gpus = (await systemFiles.list(places.home)).filter((name) => /^gpu\d+$/.test(name))
  const [ids, pointers, record] = await Promise.all([
    readWholeGenerations(systemFiles, places),
    readPointers(systemFiles, workspace, gpus),
    readRecord(systemFiles, workspace),
  ])
  const rows = await Promise.all(
    ids.map(async (id) => {
      const directory = path.join(places.generations, id)
      const [lock, stat] = await Promise.all([
        systemFiles.readForeign(path.join(directory, LOCK_FILE)),
        systemFiles.lstat(path.join(directory, COMPLETE_FILE)),
      ])
      return { ...describeGeneration(id, pointers, record), ...describeLock(lock), builtMs: stat?.mtimeMs ?? 0 }
    }),
  )
  const sorted = rows.toSorted((a, b) => b.builtMs - a.builtMs)
  const shown = sorted.map(({ builtMs, ...row }) => ({ ...row, built_at: formatTime(builtMs * 1000) }))
  terminal.write(json ? `${JSON.stringify(shown, null, 2)}\n` : generationLines(shown).join('\n').concat('\n'))
  return 0
}

/** What pointers and record say of a generation. */
export function describeGeneration(
  id: string,
  { current, next, gpus }: Pointers,
  { proven, previous, pinned, rejected }: RolloutRecord,
): Pick<GenerationRow, 'id' | 'states' | 'gpus' | 'rejected'> {
  const states = [
    ...(current === id ? (['current'] as const) : []),
    ...(next === id ? (['next'] as const) : []),
    ...(previous === id ? (['previous'] as const) : []),
    ...(pinned?.generation === id ? (['pinned'] as const) : []),
    ...(proven.includes(id) ? (['proven'] as const) : []),
    ...(Object.hasOwn(rejected, id) ? (['rejected'] as const) : []),
  ]
  const on = [...gpus].filter(([, generation]) => generation === id).map(([gpu]) => gpu)
  return { id, states, gpus: on, rejected: rejected[id] ?? null }
}

function describeLock(text: string | undefined): Pick<GenerationRow, 'commit' | 'ref' | 'nodes'> {
  if (text === undefined) return { commit: null, ref: null, nodes: null }
  const { comfyui, nodes } = JSON.parse(text) as MachineLock
  return { commit: comfyui.commit, ref: comfyui.resolved, nodes: nodes.length }
}

/** The table for people; below it why generations were sent back. */
export function generationLines(rows: readonly GenerationRow[]): readonly string[] {
  if (rows.length === 0) return ['no generation is installed']
  const table = [
    ['GENERATION', 'COMFYUI', 'NODES', 'BUILT', 'GPUS', 'STATE'],
    ...rows.map(({ id, commit, ref, nodes, built_at, states, gpus }) => [
      ...[id, ref === null ? '-' : `${ref} ${commit?.slice(0, 10) ?? ''}`.trim(), String(nodes ?? '-')],
      ...[`${built_at.slice(0, 19)}Z`, gpus.join(' ') || '-', states.join(', ') || '-'],
    ]),
  ]
  const reasons = rows.flatMap(({ id, rejected }) =>
    rejected === null ? [] : [`${id} was sent back by ${rejected.gpu}: ${rejected.code} ${rejected.message}`],
  )
  return [...tableLines(table), ...reasons]
}
