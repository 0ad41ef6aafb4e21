import { join } from 'node:path'
import type { Clock, Files } from '../host/ports.ts'
import { parseRecord } from '../install/context.ts'
import { MODEL_INDEX } from '../plan/places.ts'
import type { MachinePaths } from '../plan/plan.ts'
import type { ModelIndex, VerifiedFile } from './model-plan.ts'

/** The index is written at most so often while the work goes on. */
const PERIOD_MS = 1_000

/** What the index needs of its surroundings; an InstallContext has it. */
export interface IndexContext {
  readonly plan: { readonly paths: Pick<MachinePaths, 'workspace'> }
  readonly host: { readonly files: Files; readonly clock: Clock }
}

/** The index of verified files while somebody works on the models. Changes are on the disk within about a second. */
export interface OpenIndex {
  readonly files: ReadonlyMap<string, VerifiedFile>
  /** What was found of the file at a relative path, as it was when it was read. */
  record(path: string, file: VerifiedFile): void
  forget(path: string): void
  /** Writes what is not written yet. Throws what an earlier write failed with. */
  flush(): Promise<void>
}

/** `models.json` as it stands; empty where it is missing or cannot be read. */
export async function readIndex({ plan, host }: IndexContext): Promise<ReadonlyMap<string, VerifiedFile>> {
  return parseIndex(await host.files.readText(join(plan.paths.workspace, MODEL_INDEX)))
}

/** Reads `models.json` to change it. Only who holds the store does that. */
export async function openIndex(context: IndexContext): Promise<OpenIndex> {
  const { files, clock } = context.host
  const location = join(context.plan.paths.workspace, MODEL_INDEX)
  const known = new Map(await readIndex(context))
  const ended = new AbortController()
  let [isChanged, hasFailed] = [false, false]
  let failure: unknown
  let writing: Promise<void> | undefined
  const write = async (): Promise<void> => {
    isChanged = false
    const index: ModelIndex = { schema: 1, files: Object.fromEntries(known) }
    await files.writeText(location, `${JSON.stringify(index, null, 2)}\n`, { durable: true })
  }
  const writeOn = async (): Promise<void> => {
    while (isChanged && !ended.signal.aborted) {
      await write()
      await clock.sleep(PERIOD_MS, ended.signal)
    }
    writing = undefined
  }
  const change = (): void => {
    isChanged = true
    writing ??= writeOn().catch((error: unknown) => {
      hasFailed = true
      failure = error
    })
  }
  return {
    files: known,
    record(path, file) {
      known.set(path, file)
      change()
    },
    forget(path) {
      if (known.delete(path)) change()
    },
    async flush() {
      ended.abort()
      await writing
      if (hasFailed) throw failure
      if (isChanged) await write()
    },
  }
}

/** True when nothing was recorded or forgotten between two readings. */
export function isSameIndex(a: ReadonlyMap<string, VerifiedFile>, b: ReadonlyMap<string, VerifiedFile>): boolean {
  return a.size === b.size && JSON.stringify([...a]) === JSON.stringify([...b])
}

/** The entries of a text of `models.json`. */
export function parseIndex(text: string | undefined): ReadonlyMap<string, VerifiedFile> {
  return new Map(Object.entries(parseRecord<ModelIndex>(text)?.files ?? {}))
}
