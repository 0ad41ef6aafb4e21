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
  /** Directories that are known to be there. */
  readonly made: Set<string>
}

/** Content of the store; `bytes` null where its size is still to be looked at. */
export interface Content {
  readonly sha256: string
  readonly bytes: number | null
}

/**
 * Puts content in the place of a model and records it. Throws CM1810 when it has another size than the model
 * is to have, CM1806 and CM0401.
 */
export async function placeWork(
  { context, store, index, made }: Placing,
  work: ModelWork,
  { sha256, bytes: known }: Content,
  onBytes: () => void,
): Promise<void> {
  const { files, digest } = context.host
  const { model, wanted, destination } = work
  const blob = join(storeOf(context.plan.paths.models).blobs, sha256)
  try {
    const size = known ?? (await files.stat(blob))?.bytes
    if (wanted.bytes !== null && size !== undefined && size !== wanted.bytes) {
      const sizes = `${size} bytes have its sha256, and ${wanted.bytes} are declared`
      throw new MachineError('CM1810', `model ${model.name}: ${sizes}`)
    }
    const directory = dirname(destination)
    if (!made.has(directory)) await files.makeDirectory(directory)
    made.add(directory)
    const { placement, bytes, mtimeMs } = await store.place(blob, destination, onBytes)
    work.placement = placement
    work.sha256 = sha256
    work.bytes = bytes
    // Nobody declared the hash: it is what the URL served.
    const source = model.sha256 === null && model.url !== null ? { source: digest(model.url) } : {}
    index.record(model.path ?? '', { bytes, mtimeMs, sha256, ...source, brought: true })
    for (const part of work.oldParts) await files.remove(part)
  } catch (error) {
    throw toStoreFailure(error, destination)
  }
}
