import type { WorkGroup } from './group-works.ts'
import { hostOf } from './model-sources.ts'
import type { ModelWork } from './model-work.ts'
import { type SpaceNeed, sumNeeds } from './preflight.ts'

/** One model that has to be read, put in its place or downloaded. */
export interface ModelChange {
  readonly name: string
  readonly path: string | null
  readonly action: 'verify' | 'place' | 'download' | 'find'
  /** Bytes still to be downloaded; null when the size is not known, or nothing is downloaded. */
  readonly bytes: number | null
  /** Host that it comes from. */
  readonly host: string | null
}

/** The models that an installation now would change; of those that one download brings only the first is downloaded. */
export function previewModels(
  works: readonly ModelWork[],
  downloads: ReadonlyMap<WorkGroup, SpaceNeed>,
): readonly ModelChange[] {
  const needs = new Map(
    [...downloads].map(
      ([
        {
          works: [first],
        },
        need,
      ]) => [first, need],
    ),
  )
  return works.flatMap((work) => modelChange(work, needs.get(work)))
}

function modelChange({ model, action, file }: ModelWork, need: SpaceNeed | undefined): readonly ModelChange[] {
  const { name, path } = model
  if (path === null) return file === undefined ? [{ name, path, action: 'find', bytes: null, host: null }] : []
  if (action === 'keep') return []
  const host = hostOf(model.url)
  if (action !== 'download') return [{ name, path, action, bytes: null, host }]
  if (need === undefined) return [{ name, path, action: 'place', bytes: null, host }]
  return [{ name, path, action, bytes: need.bytes === 0 ? null : sumNeeds([need]).bytes, host }]
}
