import type { Files } from '../host/ports.ts'
import type { WorkGroup } from './group-works.ts'
import { hostOf } from './model-sources.ts'
import type { ModelWork } from './model-work.ts'
import { parsePartMap } from './part-map.ts'
import type { Sizes } from './preflight.ts'

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

/** Bytes that earlier downloads brought of each group, as their maps say; `boot` is the id of this boot of the host. */
export async function readArrived(
  files: Pick<Files, 'readText'>,
  groups: readonly WorkGroup[],
  boot: string,
): Promise<ReadonlyMap<WorkGroup, number>> {
  const arrived = groups.map(async (group) => {
    const text = (await files.readText(`${group.partial}.map`)) ?? ''
    return [group, parsePartMap(text, boot)?.arrived.bytes ?? 0] as const
  })
  return new Map(await Promise.all(arrived))
}

/** The models that an installation now would change; of those that one download brings only the first is downloaded. */
export function previewModels(
  works: readonly ModelWork[],
  downloads: Sizes,
  arrived: ReadonlyMap<WorkGroup, number>,
): readonly ModelChange[] {
  const missing = new Map(
    [...downloads].map(([group, size]) => [
      group.works[0],
      size === 0 ? null : Math.max(0, size - (arrived.get(group) ?? 0)),
    ]),
  )
  return works.flatMap((work) => modelChange(work, missing.get(work)))
}

/** `bytes` is undefined for a model that another one brings along. */
function modelChange({ model, action, file }: ModelWork, bytes: number | null | undefined): readonly ModelChange[] {
  const { name, path } = model
  if (path === null) return file === undefined ? [{ name, path, action: 'find', bytes: null, host: null }] : []
  if (action === 'keep') return []
  const host = hostOf(model.url)
  if (action !== 'download') return [{ name, path, action, bytes: null, host }]
  return bytes === undefined
    ? [{ name, path, action: 'place', bytes: null, host }]
    : [{ name, path, action, bytes, host }]
}
