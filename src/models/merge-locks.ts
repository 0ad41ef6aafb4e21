import { join } from 'node:path'
import type { WantedModel } from '../install/components.ts'
import { type InstallContext, parseRecord } from '../install/context.ts'
import { listNamed } from '../install/generations.ts'
import type { MachineLock } from '../install/machine-lock.ts'
import { withHashes } from '../install/model-hashes.ts'
import { LOCK_FILE, placesOf } from '../plan/places.ts'
import type { VerifiedFile } from './model-plan.ts'

const MOST_TRIES = 3

/**
 * Writes the hashes of verified models into the locks of the generations that a pointer names. The installer of custom nodes
 * may write such a lock at the same time, and does the same when it has: whoever is last has both.
 */
export async function mergeLocks(
  context: InstallContext,
  verified: ReadonlyMap<string, VerifiedFile>,
  wanted: readonly WantedModel[],
): Promise<void> {
  const { generations } = placesOf(context.plan.paths.workspace)
  for (const id of await listNamed(context, 'all')) {
    await mergeLock(context, join(generations, id, LOCK_FILE), (models) =>
      withHashes(withoutComputed(models, verified, wanted), verified),
    )
  }
}

async function mergeLock(
  { host: { files } }: InstallContext,
  path: string,
  merge: (models: readonly WantedModel[]) => readonly WantedModel[],
): Promise<void> {
  for (let tried = 0; tried < MOST_TRIES; tried++) {
    const text = await files.readText(path)
    const lock = parseRecord<MachineLock>(text)
    if (lock === undefined) return
    const merged = `${JSON.stringify({ ...lock, models: merge(lock.models) }, null, 2)}\n`
    if (merged === text) return
    if ((await files.readText(path)) !== text) continue
    return files.writeText(path, merged, { durable: true })
  }
}

/** Models without the hashes that were computed earlier, where another one is known now. */
function withoutComputed(
  models: readonly WantedModel[],
  verified: ReadonlyMap<string, VerifiedFile>,
  wanted: readonly WantedModel[],
): readonly WantedModel[] {
  const asked = new Map(wanted.map((model) => [model.path, model]))
  return models.map((model) => {
    const source = asked.get(model.path)
    const isComputed = source?.sha256 === null && source.url === model.url
    if (!isComputed || model.path === null || typeof verified.get(model.path)?.sha256 !== 'string') return model
    return { ...model, sha256: null }
  })
}
