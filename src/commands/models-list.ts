import type { Terminal } from '../host/ports.ts'
import { sumBytes } from '../models/list-models.ts'
import { listLines } from '../models/list-text.ts'
import { readMachineNow } from './machine-now.ts'
import { chooseRows, readStore } from './read-store.ts'

/** `comfy-machine models list`: every model of this machine, where it stands and who wants it. Nothing is read but names. */
export async function modelsListCommand(
  { names, json }: { readonly names: readonly string[]; readonly json: boolean },
  terminal: Terminal,
): Promise<number> {
  const machine = await readMachineNow()
  const { rows, files, unreadable } = await readStore(machine)
  for (const problem of unreadable) terminal.error(`${problem}\n`)
  const models = chooseRows(rows, names)
  const diskBytes = sumBytes(files, rows)
  const document = { models_path: machine.models, disk_bytes: diskBytes, models }
  terminal.write(json ? `${JSON.stringify(document, null, 2)}\n` : `${listLines(models, diskBytes).join('\n')}\n`)
  return 0
}
