import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { systemFiles } from '../../../src/host/files.ts'
import { systemInventory } from '../../../src/host/inventory.ts'
import { systemStore } from '../../../src/host/store-files.ts'
import type { Meter } from '../../../src/models/model-meter.ts'
import type { VerifiedFile } from '../../../src/models/model-plan.ts'
import type { SetSource } from '../../../src/models/set-export.ts'
import type { SetPorts } from '../../../src/models/set-ports.ts'
import { storeOf } from '../../../src/plan/places.ts'

const nothing = (): void => undefined

/** A meter that nobody looks at. */
export const silentMeter: Meter = {
  expect: nothing,
  begin: () => ({ add: nothing, resume: nothing, finish: nothing }),
  count: nothing,
  stop: nothing,
}

/** The file system of this host; `isShared` false: every directory is on a volume of its own. */
export function portsOf({ isShared = true } = {}): SetPorts {
  const volumeOf = async (path: string): Promise<string> => (isShared ? 'one' : path)
  return {
    files: systemFiles,
    store: systemStore,
    inventory: { ...systemInventory, volumeOf },
    meter: silentMeter,
    signal: new AbortController().signal,
  }
}

/** An index in a map, as it would be written. */
export function indexOf(files = new Map<string, VerifiedFile>()) {
  return {
    files,
    record: (path: string, file: VerifiedFile) => void files.set(path, file),
    forget: (path: string) => void files.delete(path),
    flush: async () => undefined,
  }
}

/** A models folder with an empty store, in a directory of its own. */
export async function emptyStore(): Promise<string> {
  const models = join(await mkdtemp(join(tmpdir(), 'models-')), 'models')
  for (const path of [storeOf(models).blobs, storeOf(models).partial]) await mkdir(path, { recursive: true })
  return models
}

/** Puts a model into a store and in its place, as a download does. */
export async function addModel(models: string, path: string, content: string): Promise<SetSource> {
  const sha256 = createHash('sha256').update(content).digest('hex')
  const blob = join(storeOf(models).blobs, sha256)
  await writeFile(`${blob}.new`, content)
  await systemStore.seal(`${blob}.new`, blob)
  await mkdir(dirname(join(models, path)), { recursive: true })
  await systemStore.place(blob, join(models, path))
  const from = `.store/blobs/sha256/${sha256}`
  return { name: path.split('/').at(-1) ?? path, path, sha256, bytes: content.length, from }
}

/** What the index says of a model that was added. */
export async function verifiedAs(models: string, { path, sha256 }: SetSource): Promise<[string, VerifiedFile]> {
  const { size: bytes, mtimeMs } = await stat(join(models, path))
  return [path, { bytes, mtimeMs, sha256, brought: true }]
}

/** Paths and texts of all files of a directory, the lock and temporary names too. */
export async function readAll(directory: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  const texts = await Promise.all(
    files.sort().map(async (file) => [file.slice(directory.length + 1), await readFile(file, 'utf8')] as const),
  )
  return Object.fromEntries(texts)
}
