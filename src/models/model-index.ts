import { join } from 'node:path'
import { type InstallContext, parseRecord } from '../install/context.ts'
import { MODEL_INDEX, type ModelIndex, type VerifiedFile } from './model-plan.ts'

/** The index of verified files while the installer runs. */
export interface OpenIndex {
  readonly files: ReadonlyMap<string, VerifiedFile>
  record(path: string, file: string, sha256: string | null): Promise<void>
}

/** Reads `models.json`; records are written one after the other, each time whole. */
export async function openIndex(context: InstallContext): Promise<OpenIndex> {
  const { files } = context.host
  const location = join(context.plan.paths.workspace, MODEL_INDEX)
  const known = new Map(Object.entries(parseRecord<ModelIndex>(await files.readText(location))?.files ?? {}))
  let last = Promise.resolve()
  return {
    files: known,
    async record(path, file, sha256) {
      const stat = await files.stat(file)
      if (stat === undefined) return
      known.set(path, { bytes: stat.bytes, mtimeMs: stat.mtimeMs, sha256 })
      last = last.then(() => {
        const index: ModelIndex = { schema: 1, files: Object.fromEntries(known) }
        return files.writeText(location, `${JSON.stringify(index, null, 2)}\n`)
      })
      await last
    },
  }
}
