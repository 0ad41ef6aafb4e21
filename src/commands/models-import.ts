import { formatBytes } from '../emit/bytes.ts'
import { MachineError, messageOf } from '../errors.ts'
import { becomeInstaller } from '../host/become.ts'
import { systemFiles } from '../host/files.ts'
import { systemInventory } from '../host/inventory.ts'
import type { Terminal } from '../host/ports.ts'
import { holdStore } from '../models/hold-store.ts'
import { openIndex } from '../models/model-index.ts'
import { createMeter } from '../models/model-meter.ts'
import { checkImport, importSet, planImport, readSet } from '../models/set-import.ts'
import { sumFailures } from '../models/set-ports.ts'
import { requireRoot } from './machine-now.ts'
import { openModelsHost, readModelsPlan, whenStopped } from './models-host.ts'
import { readStore } from './read-store.ts'
import { storeUntil } from './stoppable-store.ts'

const COMMAND = 'comfy-machine models import'

/**
 * `comfy-machine models import`: takes the models of an exported set into the store, each hash checked, and puts them in their
 * places; no network is used. Resolves to 0; throws CM1813 for what is no set, CM1809 while others work on the models, and
 * after everything else is in place CM1804 and CM1805 for contents that are wrong or missing.
 */
export async function modelsImportCommand(directory: string, terminal: Terminal): Promise<number> {
  requireRoot('models import')
  const { plan } = await readModelsPlan(false)
  const { models } = plan.paths
  enterDirectory(directory)
  becomeInstaller()
  const set = await readSet(systemFiles, '.')
  const host = openModelsHost(plan, terminal, { isQuiet: false })
  const { context } = host
  const { clock, signal } = context.host
  return whenStopped(host, terminal, 'The same command goes on with what is in place.', async () => {
    const ports = { store: storeUntil(signal), files: systemFiles, clock, signal }
    const hold = await holdStore(ports, { models, command: COMMAND })
    try {
      const work = planImport(set, await readStore(plan.paths))
      await checkImport(systemFiles, models, work)
      const index = await openIndex(context)
      const meter = createMeter(context, work.contents.length, () => hold.touch())
      meter.expect(work.bytes)
      const outcome = await importSet({ ...ports, inventory: systemInventory, meter, signal }, work, {
        directory: '.',
        models,
        index,
      }).finally(async () => {
        meter.stop()
        await index.flush()
      })
      host.end()
      const { written, writtenBytes, kept, failures } = outcome
      const were = kept === 0 ? '' : `, ${kept} models were in place`
      terminal.write(`${written} files taken, ${formatBytes(writtenBytes)}${were}\n`)
      sumFailures(failures)
      return 0
    } finally {
      await hold.release()
    }
  })
}

/** Folders above it may be closed to whom this process is about to become. */
function enterDirectory(directory: string): void {
  try {
    process.chdir(directory)
  } catch (error) {
    throw new MachineError('CM1813', `${directory} cannot be entered: ${messageOf(error)}`, { cause: error })
  }
}
