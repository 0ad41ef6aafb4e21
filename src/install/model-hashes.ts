import { join } from 'node:path'
import type { ModelIndex, VerifiedFile } from '../models/model-plan.ts'
import { MODEL_INDEX } from '../plan/places.ts'
import type { WantedModel } from './components.ts'
import { type InstallContext, parseRecord } from './context.ts'

/** What is recorded of the files in the models folder, by relative path; empty where nothing is. */
export async function readVerified({
  plan,
  host,
}: Pick<InstallContext, 'plan' | 'host'>): Promise<ReadonlyMap<string, VerifiedFile>> {
  const text = await host.files.readText(join(plan.paths.workspace, MODEL_INDEX))
  return new Map(Object.entries(parseRecord<ModelIndex>(text)?.files ?? {}))
}

/** Models with the hash and size of the files that were verified, where their sources say none. */
export function withHashes(
  models: readonly WantedModel[],
  files: ReadonlyMap<string, VerifiedFile>,
): readonly WantedModel[] {
  return models.map((model) => {
    const file = model.path === null ? undefined : files.get(model.path)
    if (file === undefined || file.sha256 === null) return model
    if (model.sha256 !== null && model.sha256 !== file.sha256) return model
    return { ...model, sha256: file.sha256, bytes: file.bytes, estimatedBytes: file.bytes }
  })
}
