import path from 'node:path'
import { unitPath } from '../apply/diff.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { RenderedUnit } from '../render/render-units.ts'
import { makePlan } from './make-plan.ts'

const EXIT_SAME = 0
const EXIT_DIFFERS = 2

/** `comfy-machine plan`: what a start now would change. Resolves to 0 nothing, 2 something; throws what a start would throw. */
export async function planCommand(
  options: { readonly json: boolean; readonly envFiles: readonly string[] },
  terminal: Terminal,
): Promise<number> {
  const { plan, units } = await makePlan(options.envFiles)
  const changes = await changesOf(units)
  terminal.write(options.json ? `${JSON.stringify({ ...plan, changes }, null, 2)}\n` : describe(plan, changes))
  return changes.length === 0 ? EXIT_SAME : EXIT_DIFFERS
}

/** `comfy-machine render`: the units of a start now, printed or written to a directory. */
export async function renderCommand(
  options: { readonly out?: string; readonly envFiles: readonly string[] },
  terminal: Terminal,
): Promise<number> {
  const { units } = await makePlan(options.envFiles)
  for (const { name, text } of units) {
    if (options.out === undefined) terminal.write(`# ${unitPath(name)}\n${text}\n`)
    else await systemFiles.writeText(path.join(options.out, name), text)
  }
  return EXIT_SAME
}

async function changesOf(units: readonly RenderedUnit[]): Promise<readonly string[]> {
  const differs = async ({ name, text }: RenderedUnit): Promise<string | undefined> => {
    const present = await systemFiles.readText(unitPath(name))
    if (present === text) return undefined
    return present === undefined ? `+ ${name}` : `~ ${name}`
  }
  return (await Promise.all(units.map(differs))).filter((change) => change !== undefined)
}

function describe(plan: MachinePlan, changes: readonly string[]): string {
  const gpus = plan.gpus.map((gpu) => `  ${gpu.name}  ${gpu.uuid ?? 'mock'}  ${gpu.model}  ${gpu.memoryMiB} MiB`)
  const workers = plan.workers.map((worker) => `  ${worker.unit}  ${worker.type}  queues ${worker.queues.join(', ')}`)
  const units = changes.length === 0 ? ['  nothing changes'] : changes.map((change) => `  ${change}`)
  return ['machine', `  ${plan.machineId}`, 'gpus', ...gpus, 'workers', ...workers, 'units', ...units, ''].join('\n')
}
