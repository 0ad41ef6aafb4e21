import { join } from 'node:path'
import type { Files } from '../host/ports.ts'
import type { GcPlan } from './gc-plan.ts'
import type { StoreHold } from './hold-store.ts'
import type { OpenIndex } from './model-index.ts'
import { toStoreFailure } from './store-failure.ts'

/**
 * Removes what a plan names and lets the index forget it; the store is held meanwhile. Whoever has a file open goes on reading
 * it. Throws CM0401 for what cannot be removed.
 */
export async function collectModels(
  { files, hold }: { readonly files: Pick<Files, 'remove'>; readonly hold: Pick<StoreHold, 'touch'> },
  models: string,
  { removals, forgotten }: GcPlan,
  index: Pick<OpenIndex, 'forget' | 'flush'>,
): Promise<void> {
  for (const { path } of removals) {
    hold.touch()
    try {
      await files.remove(join(models, path))
    } catch (error) {
      throw toStoreFailure(error, join(models, path))
    }
  }
  // Last: what is left of a collection that is ended in the middle is still known as what was brought.
  for (const path of forgotten) index.forget(path)
  await index.flush()
}
