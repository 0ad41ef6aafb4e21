import { becomeInstaller } from '../host/become.ts'
import { systemClock } from '../host/clock.ts'
import { digest } from '../host/digest.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import { stopSignal } from '../host/signals.ts'
import { systemStore } from '../host/store-files.ts'
import { collectModels } from '../models/collect-models.ts'
import { type GcPlan, planGc } from '../models/gc-plan.ts'
import { gcLines } from '../models/gc-text.ts'
import { holdStore } from '../models/hold-store.ts'
import { openIndex } from '../models/model-index.ts'
import { reachOf, requireCertain } from '../models/reach.ts'
import { type MachineNow, readMachineNow, requireRoot } from './machine-now.ts'
import { readStore } from './read-store.ts'

const EXIT_SAME = 0
const EXIT_DIFFERS = 2
const COMMAND = 'comfy-machine models gc'

/** What `comfy-machine models gc` may be told. */
export interface GcOptions {
  /** Only show what would be removed. */
  readonly plan: boolean
  readonly json: boolean
}

/**
 * `comfy-machine models gc`: removes what no generation reaches. Resolves to 0, with `plan` to 2 when there is something to
 * remove. Throws CM0003 when it is not known what is wanted, CM1809 while others work on the models.
 */
export async function modelsGcCommand(options: GcOptions, terminal: Terminal): Promise<number> {
  if (!options.plan) requireRoot('models gc')
  const machine = await readMachineNow()
  const show = (plan: GcPlan, isDone: boolean): void =>
    terminal.write(
      options.json ? `${JSON.stringify(toDocument(plan, isDone), null, 2)}\n` : `${gcLines(plan, isDone).join('\n')}\n`,
    )
  if (options.plan) {
    const plan = await readPlan(machine)
    show(plan, false)
    return plan.removals.length === 0 ? EXIT_SAME : EXIT_DIFFERS
  }
  becomeInstaller()
  const { models, workspace } = machine
  const ports = { store: systemStore, files: systemFiles, clock: systemClock, signal: stopSignal() }
  const hold = await holdStore(ports, { models, command: COMMAND })
  try {
    const plan = await readPlan(machine)
    const context = { plan: { paths: { workspace } }, host: { files: systemFiles, clock: systemClock } }
    await collectModels({ files: systemFiles, hold }, models, plan, await openIndex(context))
    show(plan, true)
    return EXIT_SAME
  } finally {
    await hold.release()
  }
}

async function readPlan(machine: Pick<MachineNow, 'workspace' | 'models'>): Promise<GcPlan> {
  const store = await readStore(machine)
  requireCertain(store, machine.workspace)
  return planGc(store, reachOf(store.claims, store.index, digest))
}

function toDocument({ removals, freedBytes }: GcPlan, isDone: boolean) {
  return { removed: isDone, freed_bytes: freedBytes, files: removals }
}
