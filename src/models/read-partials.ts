import { join } from 'node:path'
import type { StoredFile } from '../host/inventory-ports.ts'
import type { Files } from '../host/ports.ts'
import type { PartialDownload } from './list-models.ts'
import { parsePartMap } from './part-map.ts'
import { partialKey } from './store-view.ts'

/** How far the downloads are that are not whole, by their key; `boot` is the id of the running boot. */
export async function readPartials(
  files: Files,
  models: string,
  stored: readonly StoredFile[],
  boot: string,
): Promise<ReadonlyMap<string, PartialDownload>> {
  const maps = stored.filter(({ path }) => path.endsWith('.map') && partialKey(path) !== undefined)
  const read = maps.map(async ({ path }): Promise<readonly (readonly [string, PartialDownload])[]> => {
    const map = parsePartMap((await files.readForeign(join(models, path))) ?? '', boot)
    if (map === undefined) return []
    return [[partialKey(path) ?? '', { arrived: map.arrived.bytes, total: map.identity.total }]]
  })
  return new Map((await Promise.all(read)).flat())
}
