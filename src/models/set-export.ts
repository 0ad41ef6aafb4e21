import { dirname, join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { StoredFile } from '../host/inventory-ports.ts'
import type { Files } from '../host/ports.ts'
import { blobPath } from '../plan/places.ts'
import type { ModelRow } from './list-models.ts'
import { shortageOf } from './preflight.ts'
import { parseSet, renderSet, SET_FILE, type SetModel } from './set-document.ts'
import { nameFailure, type SetOutcome, type SetPorts } from './set-ports.ts'
import { STORE, viewFolder } from './store-view.ts'

const DOCUMENT_MODE = 0o644

/** A model that can be exported, and where its content lies, relative to the models folder. */
export interface SetSource extends SetModel {
  readonly from: string
}

/**
 * What an export takes of models: those that are in place or in the store, one for each path. `missing` are those that have
 * a place and no content that is known.
 */
export function chooseSources(
  rows: readonly ModelRow[],
  files: readonly StoredFile[],
): { readonly sources: readonly SetSource[]; readonly missing: readonly ModelRow[] } {
  const { blobs } = viewFolder(files)
  const sources = new Map<string, SetSource>()
  const missing: ModelRow[] = []
  // What is in place goes before what another generation wants at the same path.
  for (const row of rows.toSorted((a, b) => rankOf(a) - rankOf(b))) {
    const { name, path, sha256, bytes } = row
    if (path === null || sources.has(path)) continue
    const from = sha256 !== null && blobs.has(sha256) ? join(STORE.blobs, sha256) : path
    if (rankOf(row) < 2 && sha256 !== null && bytes !== null) sources.set(path, { name, path, sha256, bytes, from })
    else missing.push(row)
  }
  return { sources: [...sources.values()], missing }
}

function rankOf({ state }: ModelRow): number {
  return state === 'in_place' ? 0 : state === 'stored' ? 1 : 2
}

/**
 * Writes models as a set that other hosts import: each content once, hashed as it is read, and the document last. What an
 * earlier export has left is gone on with. Throws CM1806 when the volume of the set has no room for it.
 */
export async function exportSet(
  ports: SetPorts,
  models: string,
  target: string,
  sources: readonly SetSource[],
): Promise<SetOutcome> {
  const { files, inventory, meter, signal } = ports
  // Without a mode: the directory may be one that is there, e.g. a whole volume. The umask decides over new ones.
  await files.makeDirectory(join(target, dirname(blobPath('x'))))
  const earlier = await readEarlier(files, target)
  const there = new Map((await inventory.readTree(target)).map((file) => [file.path, file]))
  const contents = [...new Map(sources.map((source) => [source.sha256, source])).values()]
  const isShared = (await inventory.volumeOf(target)) === (await inventory.volumeOf(models))
  const absent = contents.filter(({ sha256, bytes }) => there.get(blobPath(sha256))?.bytes !== bytes)
  if (!isShared) await checkRoom(files, target, absent)
  const written: SetSource[] = []
  const whole = new Set<string>()
  const failures: MachineError[] = []
  for (const source of contents) {
    signal.throwIfAborted()
    const file = meter.begin(source.name, source.bytes)
    try {
      const isKept =
        !absent.includes(source) && (await isWhole(ports, join(target, blobPath(source.sha256)), source, file.add))
      if (!isKept) {
        await writeContent(ports, { from: join(models, source.from), target, source, isShared, onBytes: file.add })
        written.push(source)
      }
      whole.add(source.sha256)
    } catch (error) {
      signal.throwIfAborted()
      failures.push(nameFailure(error, source))
    }
    file.finish()
    meter.count(1)
  }
  const failed = new Set(contents.map(({ sha256 }) => sha256).filter((sha256) => !whole.has(sha256)))
  const stays = ({ sha256, bytes }: SetModel): boolean =>
    there.get(blobPath(sha256))?.bytes === bytes && !failed.has(sha256)
  const exported = sources.filter(({ sha256 }) => whole.has(sha256)).map(({ from: _, ...model }) => model)
  const all = new Map([...earlier.filter(stays), ...exported].map((model) => [model.path, model]))
  await files.writeText(join(target, SET_FILE), renderSet([...all.values()]), { mode: DOCUMENT_MODE, durable: true })
  return {
    written: written.length,
    writtenBytes: written.reduce((sum, { bytes }) => sum + bytes, 0),
    kept: whole.size - written.length,
    failures,
  }
}

async function checkRoom(files: Files, target: string, absent: readonly SetSource[]): Promise<void> {
  const bytes = absent.reduce((sum, content) => sum + content.bytes, 0)
  const shortage = shortageOf({ bytes, inodes: absent.length + 1 }, await files.freeSpace(target))
  if (shortage === undefined) return
  throw new MachineError('CM1806', `${absent.length} models ${shortage} on ${target}`, {
    hint: 'Free space there, or name another directory.',
  })
}

async function isWhole(
  { store, files }: SetPorts,
  path: string,
  { sha256 }: SetSource,
  onBytes: (count: number) => void,
): Promise<boolean> {
  if ((await store.hash(path, onBytes)) === sha256) return true
  await files.remove(path)
  return false
}

interface Writing {
  readonly from: string
  readonly target: string
  readonly source: SetSource
  readonly isShared: boolean
  readonly onBytes: (count: number) => void
}

async function writeContent({ files, store }: SetPorts, writing: Writing): Promise<void> {
  const { from, target, source, isShared, onBytes } = writing
  const to = join(target, blobPath(source.sha256))
  const part = `${to}.part`
  if (isShared) {
    expectHash(await store.hash(from, onBytes), source, from)
    await store.place(from, to)
    return
  }
  try {
    await files.remove(part)
    expectHash(await store.copy(from, part, onBytes), source, from)
    await files.rename(part, to)
  } catch (error) {
    await files.remove(part)
    throw error
  }
}

function expectHash(found: string, { sha256 }: SetModel, from: string): void {
  if (found !== sha256) throw new MachineError('CM1812', `${from}: sha256 is ${found}, expected ${sha256}`)
}

/** The models of an earlier export. */
async function readEarlier(files: Files, target: string): Promise<readonly SetModel[]> {
  const path = join(target, SET_FILE)
  const text = await files.readForeign(path)
  return text === undefined ? [] : parseSet(text, path).models
}
