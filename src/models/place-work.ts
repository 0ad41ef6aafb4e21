import { dirname, join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { StoreFiles } from '../host/model-ports.ts'
import type { InstallContext } from '../install/context.ts'
import { storeOf } from '../plan/places.ts'
import type { OpenIndex } from './model-index.ts'
import type { ModelWork } from './model-work.ts'
import { toStoreFailure } from './store-failure.ts'

/** What puts content of the store in its place. */
export interface Placing {
  readonly context: InstallContext
  readonly store: Pick<StoreFiles, 'place'>
  readonly index: Pick<OpenIndex, 'record'>
}

/** What an earlier version left beside a model that it had not downloaded whole. */
const OLD_PARTS = ['.part', '.part.json']

/**
 * Puts the content of a hash in the place of a model and records it. Throws CM1810 when it has another size than the model
 * is to have, CM1806 and CM0401.
 */
export async function placeWork(
  { context, store, index }: Placing,
  work: ModelWork,
  sha256: string,
  onBytes: () => void,
): Promise<void> {
  const { files, digest } = context.host
  const { model, wanted, destination } = work
  const blob = join(storeOf(context.plan.paths.models).blobs, sha256)
  try {
    const content = await files.stat(blob)
    if (wanted.bytes !== null && content !== undefined && content.bytes !== wanted.bytes) {
      const sizes = `${content.bytes} bytes have its sha256, and ${wanted.bytes} are declared`
      throw new MachineError('CM1810', `model ${model.name}: ${sizes}`)
    }
    await files.makeDirectory(dirname(destination))
    work.placement = await store.place(blob, destination, onBytes)
    const placed = await files.stat(destination)
    if (placed === undefined) throw new Error('the file is gone again')
    work.sha256 = sha256
    work.bytes = placed.bytes
    // Nobody declared the hash: it is what the URL served.
    const source = model.sha256 === null && model.url !== null ? { source: digest(model.url) } : {}
    const { bytes, mtimeMs } = placed
    index.record(model.path ?? '', { bytes, mtimeMs, sha256, ...source, brought: true })
    for (const ending of OLD_PARTS) await files.remove(`${destination}${ending}`)
  } catch (error) {
    throw toStoreFailure(error, destination)
  }
}
