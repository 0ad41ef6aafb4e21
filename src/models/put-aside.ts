import { join } from 'node:path'
import type { Files } from '../host/ports.ts'
import type { WantedModel } from '../install/components.ts'
import { isGenerationId } from '../install/generation.ts'
import type { OpenIndex } from './model-index.ts'
import type { Claim } from './reach.ts'
import { blobHash, isInStore, STORE } from './store-view.ts'
import type { Damage } from './verify-plan.ts'

/** What damaged files are put aside with. */
export interface AsidePorts {
  readonly files: Files
  readonly index: OpenIndex
  readonly digest: (text: string) => string
}

/** A time of change that no file has: a file recorded with it is read again before anybody relies on it. */
const NEVER_MS = 0

/**
 * Takes a damaged content out of the store and has its visible names read again; what was known of them, that their source
 * is held to a hash too, stays known. Names that a good file is brought for are left in place until it is there.
 */
export async function putAside(
  { files, index, digest }: AsidePorts,
  models: string,
  damage: Damage,
  claims: readonly Claim[],
): Promise<void> {
  for (const path of damage.paths) {
    if (blobHash(path) === undefined) continue
    await files.makeDirectory(join(models, STORE.damaged))
    await files.rename(join(models, path), join(models, STORE.damaged, damage.expected))
  }
  for (const path of damage.paths.filter((each) => !isInStore(each))) {
    const known = index.files.get(path)
    const wanted = claims.find(({ by, model }) => !isGenerationId(by) && model.path === path)
    if (known === undefined && wanted === undefined) continue
    if (wanted === undefined) {
      index.forget(path)
      continue
    }
    const { url, sha256 } = wanted.model
    const pin = sha256 === null && url !== null ? { source: digest(url) } : {}
    const verified = known ?? { bytes: damage.bytes, mtimeMs: NEVER_MS, sha256: damage.expected }
    index.record(path, { ...verified, mtimeMs: NEVER_MS, sha256: damage.expected, ...pin })
  }
}

/** The models that are to be brought again: what the machine or an update wants of what is damaged, and nothing else in its place. */
export function modelsToRepair(damages: readonly Damage[], claims: readonly Claim[]): readonly WantedModel[] {
  const isMeant = ({ path, sha256 }: WantedModel): boolean =>
    damages.some(({ paths, expected }) => {
      return sha256 === expected || (sha256 === null && path !== null && paths.includes(path))
    })
  const wanted = claims.filter(({ by, model }) => !isGenerationId(by) && isMeant(model)).map(({ model }) => model)
  return [...new Map(wanted.map((model) => [model.path, model])).values()]
}
