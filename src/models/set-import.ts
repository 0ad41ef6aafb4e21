import { join } from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import type { Files } from '../host/ports.ts'
import { storeOf } from '../plan/places.ts'
import { parseSet, SET_FILE, type SetDocument, type SetModel, setBlob } from './set-document.ts'
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

/** What is told of a model that has its place. */
export type RecordPlaced = (model: SetModel, file: string) => Promise<void>

/**
 * Copies the contents of a set into the store, each hashed as it is copied, and puts the models at their places. A content
 * that is not what its name says is told, and nothing of it stays.
 */
export async function importSet(
  ports: SetPorts,
  plan: ImportPlan,
  { directory, models, record }: { readonly directory: string; readonly models: string; readonly record: RecordPlaced },
): Promise<SetOutcome> {
  const { store, files, meter, signal } = ports
  const { blobs, partial } = storeOf(models)
  await files.makeDirectory(blobs)
  await files.makeDirectory(partial)
  const failures = new Map<string, MachineError>()
  for (const content of plan.contents) {
    signal.throwIfAborted()
    meter.begin(content.name)
    const part = join(partial, `${content.sha256}.import`)
    try {
      await takeContent(ports, content, join(directory, setBlob(content.sha256)), part)
      await store.seal(part, join(blobs, content.sha256))
    } catch (error) {
      await files.remove(part)
      signal.throwIfAborted()
      failures.set(content.sha256, nameFailure(error, content))
    }
    meter.finish(content.name)
  }
  for (const model of plan.models.filter(({ sha256 }) => !failures.has(sha256))) {
    const file = join(models, model.path)
    await store.place(join(blobs, model.sha256), file)
    await record(model, file)
  }
  const written = plan.contents.filter(({ sha256 }) => !failures.has(sha256))
  const writtenBytes = written.reduce((sum, { bytes }) => sum + bytes, 0)
  return { written: written.length, writtenBytes, kept: plan.kept, failures: [...failures.values()] }
}

async function takeContent({ files, store, meter }: SetPorts, content: SetModel, from: string, to: string) {
  const file = await files.lstat(from)
  const hint = 'Export the set anew, or copy it again.'
  if (file?.kind !== 'file') throw new MachineError('CM1805', `there is no ${from}`, { hint })
  if (file.bytes !== content.bytes)
    throw new MachineError('CM1805', `${from} has ${file.bytes} bytes, expected ${content.bytes}`, { hint })
  await files.remove(to)
  const found = await store.copy(from, to, meter.add)
  if (found !== content.sha256)
    throw new MachineError('CM1804', `${from}: sha256 is ${found}, expected ${content.sha256}`, { hint })
}
