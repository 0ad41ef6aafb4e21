import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import { digest } from '../host/digest.ts'
import { systemFiles } from '../host/files.ts'
import { systemInventory } from '../host/inventory.ts'
import { type ListFacts, listModels, type ModelRow, selectModels } from '../models/list-models.ts'
import { parseIndex } from '../models/model-index.ts'
import { type Claims, readClaims } from '../models/reach.ts'
import { readPartials } from '../models/read-partials.ts'
import { MODEL_INDEX } from '../plan/places.ts'

const BOOT_ID = '/proc/sys/kernel/random/boot_id'

/** The models of a machine as they are, and who wants them. Nothing is hashed. */
export interface StoreNow extends ListFacts, Pick<Claims, 'asked' | 'unreadable'> {
  readonly rows: readonly ModelRow[]
}

/** Looks at the models of a machine. */
export async function readStore({
  workspace,
  models,
}: {
  readonly workspace: string
  readonly models: string
}): Promise<StoreNow> {
  const [{ claims, asked, unreadable }, text] = await Promise.all([
    readClaims(systemFiles, workspace),
    systemFiles.readForeign(join(workspace, MODEL_INDEX)),
  ])
  const index = Object.fromEntries(parseIndex(text))
  const places = [...Object.keys(index), ...claims.flatMap(({ model }) => model.path ?? [])]
  const files = await systemInventory.readTree(models, [...new Set(places)])
  const boot = (await systemFiles.readText(BOOT_ID))?.trim() ?? ''
  const partials = await readPartials(systemFiles, models, files, boot)
  const facts: ListFacts = { files, index, claims, partials, digest }
  return { ...facts, asked, unreadable, rows: listModels(facts) }
}

/** The rows that are meant by names on the command line; all without any. Throws CM0002 for a name that no model has. */
export function chooseRows(rows: readonly ModelRow[], names: readonly string[]): readonly ModelRow[] {
  const { chosen, unknown } = selectModels(rows, names)
  if (unknown.length === 0) return chosen
  throw new MachineError('CM0002', `no model is named ${unknown.join(', ')}`, {
    hint: 'Name a model by its name, its path or the first six digits or more of its sha256; comfy-machine models list shows them.',
  })
}
