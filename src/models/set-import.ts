import { dirname, join } from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import type { Files } from '../host/ports.ts'
import { blobPath, storeOf } from '../plan/places.ts'
import type { OpenIndex } from './model-index.ts'
import { shortageOf } from './preflight.ts'
import { parseSet, SET_FILE, type SetDocument, type SetModel } from './set-document.ts'
import { nameFailure, type SetOutcome, type SetPorts } from './set-ports.ts'
import { isUnchanged, type StoreFacts, viewFolder } from './store-view.ts'

/** Reads the document of the set in a directory. Throws CM1813 when there is none or it does not fit. */
export async function readSet(files: Files, directory: string): Promise<SetDocument> {
  const path = join(directory, SET_FILE)
  try {
    const text = await files.readForeign(path)
    if (text !== undefined) return parseSet(text, path)
  } catch (error) {
    if (error instanceof MachineError) throw error
    throw new MachineError('CM1813', `${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
      hint: 'Let everybody read the set: chmod -R a+rX DIR.',
    })
  }
  throw new MachineError('CM1813', `there is no ${path}`)
}

/** What an import still has to do. */
export interface ImportPlan {
  /** Models that are not in place. */
  readonly models: readonly SetModel[]
  /** Contents to copy, each once. */
  readonly contents: readonly SetModel[]
  readonly bytes: number
  /** Models that are in place as the set has them. */
  readonly kept: number
}

/** Compares a set with a models folder. */
export function planImport(set: SetDocument, { files, index }: StoreFacts): ImportPlan {
  const { visible, blobs } = viewFolder(files)
  const isInPlace = ({ path, sha256 }: SetModel): boolean => {
    const file = visible.get(path)
    return file !== undefined && isUnchanged(file, index[path]) && index[path]?.sha256 === sha256
  }
  const models = set.models.filter((model) => !isInPlace(model))
  const absent = models.filter(({ sha256, bytes }) => blobs.get(sha256)?.bytes !== bytes)
  const contents = [...new Map(absent.map((model) => [model.sha256, model])).values()]
  const bytes = contents.reduce((sum, content) => sum + content.bytes, 0)
  return { models, contents, bytes, kept: set.models.length - models.length }
}

/** Throws CM1806 when the models' volume has no room for what an import copies. */
export async function checkImport(files: Files, models: string, { contents, bytes }: ImportPlan): Promise<void> {
  const shortage = shortageOf({ bytes, inodes: contents.length }, await files.freeSpace(models))
  if (shortage !== undefined) throw new MachineError('CM1806', `${contents.length} models ${shortage} on ${models}`)
}

/** Where a set is and where its models go. */
export interface ImportPlaces {
  readonly directory: string
  /** The models folder, whose store is held. */
  readonly models: string
  readonly index: Pick<OpenIndex, 'record'>
}

/**
 * Copies the contents of a set into the store, each hashed as it is copied, and puts the models at their places. A content
 * that is not what its name says is told, and nothing of it stays.
 */
export async function importSet(
  ports: SetPorts,
  plan: ImportPlan,
  { directory, models, index }: ImportPlaces,
): Promise<SetOutcome> {
  const { store, files, meter, signal } = ports
  const { blobs, partial } = storeOf(models)
  const failures = new Map<string, MachineError>()
  for (const content of plan.contents) {
    signal.throwIfAborted()
    const file = meter.begin(content.name, content.bytes)
    const part = join(partial, `${content.sha256}.import`)
    try {
      await takeContent(ports, content, {
        from: join(directory, blobPath(content.sha256)),
        to: part,
        onBytes: file.add,
      })
      await store.seal(part, join(blobs, content.sha256))
    } catch (error) {
      await files.remove(part)
      signal.throwIfAborted()
      failures.set(content.sha256, nameFailure(error, content))
    }
    file.finish()
    meter.count(1)
  }
  for (const model of plan.models.filter(({ sha256 }) => !failures.has(sha256))) {
    try {
      await placeModel(ports, model, models, index)
    } catch (error) {
      failures.set(model.path, nameFailure(error, model))
    }
  }
  await store.settle()
  const written = plan.contents.filter(({ sha256 }) => !failures.has(sha256))
  const writtenBytes = written.reduce((sum, { bytes }) => sum + bytes, 0)
  return { written: written.length, writtenBytes, kept: plan.kept, failures: [...failures.values()] }
}

interface Taking {
  readonly from: string
  readonly to: string
  readonly onBytes: (count: number) => void
}

async function takeContent(
  { files, store }: SetPorts,
  content: SetModel,
  { from, to, onBytes }: Taking,
): Promise<void> {
  const file = await files.lstat(from)
  const hint = 'Export the set anew, or copy it again.'
  if (file?.kind !== 'file') throw new MachineError('CM1805', `there is no ${from}`, { hint })
  if (file.bytes !== content.bytes)
    throw new MachineError('CM1805', `${from} has ${file.bytes} bytes, expected ${content.bytes}`, { hint })
  await files.remove(to)
  const found = await store.copy(from, to, onBytes)
  if (found !== content.sha256)
    throw new MachineError('CM1804', `${from}: sha256 is ${found}, expected ${content.sha256}`, { hint })
}

async function placeModel(
  { files, store }: SetPorts,
  { path, sha256 }: SetModel,
  models: string,
  index: Pick<OpenIndex, 'record'>,
): Promise<void> {
  const file = join(models, path)
  await files.makeDirectory(dirname(file))
  const { bytes, mtimeMs } = await store.place(join(storeOf(models).blobs, sha256), file)
  index.record(path, { bytes, mtimeMs, sha256, brought: true })
}
