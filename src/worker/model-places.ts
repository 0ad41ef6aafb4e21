import path from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import type { Files } from '../host/ports.ts'
import type { WantedModel } from '../install/components.ts'
import type { ModelIndex, VerifiedFile } from '../models/model-plan.ts'
import type { Gap } from './gap.ts'

/** What the look at models needs. */
export interface ModelPorts {
  readonly files: Pick<Files, 'stat'>
  /** sha256 of a file in lowercase hex. */
  readonly hash: (file: string) => Promise<string>
}

/** The files that the installer of models has read whole. */
export function parseModelIndex(text: string | undefined): ReadonlyMap<string, VerifiedFile> {
  const { files } = text === undefined ? { files: undefined } : (JSON.parse(text) as Partial<ModelIndex>)
  return new Map(Object.entries(files ?? {}))
}

/**
 * Models whose file is not as it was verified. Bytes are read only where size and time of change are not those that were
 * recorded with the hash. A model that is only named has no place to look at, and one that is loaded after the start may not
 * be there yet.
 */
export async function findDisplaced(
  ports: ModelPorts,
  folder: string,
  models: readonly WantedModel[],
  verified: ReadonlyMap<string, VerifiedFile>,
): Promise<readonly Gap[]> {
  const gaps: Gap[] = []
  for (const model of models) {
    if (model.path === null || model.when === 'after_start') continue
    const file = path.join(folder, model.path)
    const problem = await findProblem(ports, file, model, verified.get(model.path)).catch(
      (error: unknown) => `cannot be read: ${messageOf(error)}`,
    )
    if (problem === undefined) continue
    const error = new MachineError('CM1905', `model ${model.name}: ${file} ${problem}`)
    gaps.push({ component: `model ${model.name}`, error })
  }
  return gaps
}

async function findProblem(
  { files, hash }: ModelPorts,
  file: string,
  model: WantedModel,
  known: VerifiedFile | undefined,
): Promise<string | undefined> {
  const stat = await files.stat(file)
  if (stat === undefined) return 'is not there'
  if (stat.kind !== 'file') return 'is no file'
  const bytes = model.bytes ?? known?.bytes
  if (bytes !== undefined && stat.bytes !== bytes) return `has ${stat.bytes} bytes, expected ${bytes}`
  if (model.sha256 === null) return undefined
  const isUnchanged = known?.bytes === stat.bytes && known.mtimeMs === stat.mtimeMs
  if (isUnchanged && known.sha256 === model.sha256) return undefined
  const sha256 = await hash(file)
  return sha256 === model.sha256 ? undefined : `has the sha256 ${sha256}, expected ${model.sha256}`
}
