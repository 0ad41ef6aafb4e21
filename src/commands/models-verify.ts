import { MachineError, messageOf } from '../errors.ts'
import { becomeInstaller } from '../host/become.ts'
import { systemFiles } from '../host/files.ts'
import { systemInventory } from '../host/inventory.ts'
import type { StoredFile } from '../host/inventory-ports.ts'
import type { Terminal } from '../host/ports.ts'
import { systemStore } from '../host/store-files.ts'
import { bringModels } from '../models/bring-models.ts'
import { holdStore } from '../models/hold-store.ts'
import { finish } from '../models/install-models.ts'
import { openIndex } from '../models/model-index.ts'
import { createMeter } from '../models/model-meter.ts'
import { modelsToRepair, putAside } from '../models/put-aside.ts'
import { verifyFiles } from '../models/verify-models.ts'
import { type Damage, damageLine, isSameFile, planVerify } from '../models/verify-plan.ts'
import { modelTools } from './install-tools.ts'
import { requireRoot } from './machine-now.ts'
import { type ModelsHost, openModelsHost, readModelsPlan, whenStopped } from './models-host.ts'
import { chooseRows, readStore, type StoreNow } from './read-store.ts'
import { storeUntil } from './stoppable-store.ts'

const COMMAND = 'comfy-machine models verify'

/** What `comfy-machine models verify` may be told. */
export interface VerifyOptions {
  readonly names: readonly string[]
  /** Bring what is damaged anew. */
  readonly repair: boolean
  readonly json: boolean
}

/**
 * `comfy-machine models verify`: reads every file of the store again. Resolves to 0 when all of them are as they were verified
 * or have been mended; throws CM1812 when one is not, CM1809 when others work on the models that are to be mended.
 */
export async function modelsVerifyCommand(options: VerifyOptions, terminal: Terminal): Promise<number> {
  const { names, repair, json } = options
  if (repair) requireRoot('models verify --repair')
  const { plan, secrets } = await readModelsPlan(repair)
  const host = openModelsHost(plan, terminal, { isQuiet: json, secrets })
  if (process.getuid?.() === 0) becomeInstaller()
  return whenStopped(host, terminal, 'Nothing was changed.', async () => {
    const { models } = plan.paths
    const store = await readStore(plan.paths)
    const checks = planVerify(store, names.length === 0 ? undefined : chooseRows(store.rows, names))
    const meter = createMeter(host.context, checks.length)
    const { signal } = host.context.host
    const ports = { store: storeUntil(signal), meter, signal }
    const damages = await verifyFiles(ports, models, checks, store.rows).finally(() => meter.stop())
    host.end()
    const mended = repair && damages.length > 0 ? await mend(host, store, damages) : new Set<Damage>()
    const left = damages.filter((damage) => !mended.has(damage))
    if (json) terminal.write(`${JSON.stringify(toDocument(checks.length, damages, mended), null, 2)}\n`)
    else for (const damage of damages) terminal.error(`${damageLine(damage)}${mended.has(damage) ? '; mended' : ''}\n`)
    if (left.length > 0) throw new MachineError('CM1812', namesOf(left))
    const rest =
      damages.length === 0 ? 'all of them are as they were verified' : `${damages.length} were damaged and are mended`
    if (!json) terminal.write(`${checks.length} files are read: ${rest}\n`)
    return 0
  })
}

/** Puts damaged files aside and brings anew what the machine wants of them; resolves to those that are settled. */
async function mend(host: ModelsHost, store: StoreNow, damages: readonly Damage[]): Promise<ReadonlySet<Damage>> {
  const { context } = host
  const { clock, digest, signal } = context.host
  const { models } = context.plan.paths
  const hold = await holdStore({ store: systemStore, files: systemFiles, clock, signal }, { models, command: COMMAND })
  const put: Damage[] = []
  try {
    const index = await openIndex(context)
    const now = await look(models, damages)
    for (const damage of damages) {
      const file = now.get(damage.paths[0] ?? '')
      if (file === undefined || !isSameFile(damage, file)) continue
      await putAside({ files: systemFiles, index, digest }, models, damage, store.claims)
      put.push(damage)
    }
    await index.flush()
  } finally {
    await hold.release()
  }
  const tools = modelTools(context)
  try {
    const wanted = modelsToRepair(put, store.claims)
    finish(context, await bringModels(context, tools.open, wanted, { command: COMMAND, isPatient: true }))
  } catch (error) {
    signal.throwIfAborted()
    host.end()
    context.host.journal.write({ message: messageOf(error), priority: 'err' })
  } finally {
    tools.close()
  }
  // A name that the damaged file still has is a name under which it is still read.
  const after = await look(models, put)
  const isLeft = (damage: Damage): boolean =>
    damage.paths.some((path) => {
      const file = after.get(path)
      return file !== undefined && isSameFile(damage, file)
    })
  return new Set(put.filter((damage) => !isLeft(damage)))
}

async function look(models: string, damages: readonly Damage[]): Promise<ReadonlyMap<string, StoredFile>> {
  const paths = damages.flatMap((damage) => damage.paths)
  const files = await systemInventory.readTree(models, paths)
  return new Map(files.map((file) => [file.path, file]))
}

function toDocument(checked: number, damages: readonly Damage[], mended: ReadonlySet<Damage>) {
  const damaged = damages.map((damage) => {
    const { paths, bytes, expected, found, wanted_by, reason = null } = damage
    return { paths, bytes, expected, found, reason, wanted_by, mended: mended.has(damage) }
  })
  return { checked, damaged }
}

function namesOf(damages: readonly Damage[]): string {
  const names = damages.map(({ paths }) => paths.at(-1) ?? '').join(', ')
  return damages.length === 1 ? `${names} is damaged` : `${damages.length} files are damaged: ${names}`
}
