import path from 'node:path'
import { formatBytes } from '../emit/bytes.ts'
import { MachineError } from '../errors.ts'
import { systemFiles } from '../host/files.ts'
import { systemInventory } from '../host/inventory.ts'
import type { Terminal } from '../host/ports.ts'
import { createMeter } from '../models/model-meter.ts'
import { MACHINE } from '../models/reach.ts'
import { chooseSources, exportSet } from '../models/set-export.ts'
import { type SetOutcome, sumFailures } from '../models/set-ports.ts'
import { openModelsHost, readModelsPlan, whenStopped } from './models-host.ts'
import { chooseRows, readStore } from './read-store.ts'
import { storeUntil } from './stoppable-store.ts'

/** What `comfy-machine models export` may be told. */
export interface ExportOptions {
  readonly directory: string
  /** Only these models; without any, all that are in the store or in place. */
  readonly names: readonly string[]
}

/**
 * `comfy-machine models export`: writes models with their hashes as a set that other hosts import. Resolves to 0; throws when
 * one of them is damaged or is missing, after all others are written.
 */
export async function modelsExportCommand({ directory, names }: ExportOptions, terminal: Terminal): Promise<number> {
  const { plan } = await readModelsPlan(false)
  const host = openModelsHost(plan, terminal, { isQuiet: false })
  const target = path.resolve(directory)
  return whenStopped(host, terminal, 'The same command goes on with what is written.', async () => {
    const { rows, files } = await readStore(plan.paths)
    const chosen = chooseRows(rows, names)
    const { sources, missing } = chooseSources(chosen, files)
    const contents = new Map(sources.map(({ sha256, bytes }) => [sha256, bytes]))
    const meter = createMeter(host.context, contents.size)
    meter.expect([...contents.values()].reduce((sum, bytes) => sum + bytes, 0))
    // The set is for everybody to read.
    process.umask(0o022)
    const { signal } = host.context.host
    const ports = { files: systemFiles, store: storeUntil(signal), inventory: systemInventory, meter, signal }
    const outcome = await exportSet(ports, plan.paths.models, target, sources).finally(() => meter.stop())
    host.end()
    // What another generation wanted once is no loss.
    const missed = missing.filter(({ wanted_by }) => names.length > 0 || wanted_by.includes(MACHINE))
    const failures = missed.map(
      (row) =>
        new MachineError('CM1805', `model ${row.path ?? row.name} is not here whole and verified`, {
          hint: 'Run comfy-machine models pull first.',
        }),
    )
    terminal.write(`${exportText(sources.length, outcome)} in ${target}\n`)
    sumFailures([...outcome.failures, ...failures])
    return 0
  })
}

function exportText(models: number, { written, writtenBytes, kept }: SetOutcome): string {
  const were = kept === 0 ? '' : `, ${kept} were there`
  return `${models} models: ${written} files written, ${formatBytes(writtenBytes)}${were},`
}
