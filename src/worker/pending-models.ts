import path from 'node:path'
import type { Files } from '../host/ports.ts'
import type { WantedModel } from '../install/components.ts'
import { LOCK_FILE, pointerOf } from '../plan/places.ts'
import type { MachinePaths } from '../plan/plan.ts'

type Fields = Readonly<Record<string, unknown>>

/** Paths of the models that the generation of a GPU has loaded after the start, and that are not there yet. */
export async function readPendingModels(
  files: Pick<Files, 'readText' | 'stat'>,
  { workspace, models }: Pick<MachinePaths, 'workspace' | 'models'>,
  gpu: string,
): Promise<readonly string[]> {
  const text = await files.readText(path.join(pointerOf(workspace, gpu), LOCK_FILE))
  const lock = JSON.parse(text ?? '{}') as { readonly models?: readonly WantedModel[] }
  const later = (lock.models ?? []).flatMap(({ when, path: place }) =>
    when === 'after_start' && place !== null ? [place] : [],
  )
  const stats = await Promise.all(later.map((place) => files.stat(path.join(models, place))))
  return later.filter((_, index) => stats[index] === undefined)
}

/** Those of the models that ComfyUI refused a workflow for: an input names a file that it does not list (upstream execution.py). */
export function pendingOf(workflow: Fields, refusal: unknown, pending: readonly string[]): readonly string[] {
  const values = Object.entries(fieldsOf(fieldsOf(refusal)['node_errors'])).flatMap(([id, node]) => {
    const { errors } = fieldsOf(node)
    const inputs = fieldsOf(fieldsOf(workflow[id])['inputs'])
    const all: readonly unknown[] = Array.isArray(errors) ? errors : []
    const unlisted = all.map(fieldsOf).filter(({ type }) => type === 'value_not_in_list')
    return unlisted.map((error) => inputs[String(fieldsOf(error['extra_info'])['input_name'])])
  })
  // ComfyUI lists files by their path in the folder of their kind.
  return pending.filter((place) =>
    values.some((value) => typeof value === 'string' && value !== '' && place.endsWith(`/${value}`)),
  )
}

const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? (value as Fields) : {})
