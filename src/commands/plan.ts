import path from 'node:path'
import { unitPath } from '../apply/diff.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import { type InstallationPreview, isUnchanged } from '../install/preview.ts'
import { previewLines } from '../install/preview-text.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { changesOf, makePlan } from './make-plan.ts'
import { previewInstallation } from './preview.ts'

const EXIT_SAME = 0
const EXIT_DIFFERS = 2

/**
 * `comfy-machine plan`: what a start now would clone, resolve, download, write and restart; nothing is changed. Resolves to
 * 0 nothing, 2 something; throws what a start would throw.
 */
export async function planCommand(
  options: { readonly json: boolean; readonly envFiles: readonly string[] },
  terminal: Terminal,
): Promise<number> {
  const { plan, units, config } = await makePlan(options.envFiles)
  const [changes, preview] = await Promise.all([changesOf(units), previewInstallation(plan, config)])
  const restarts = restartsOf(plan, changes, preview)
  const isSame = changes.length === 0 && isUnchanged(preview)
  const document = { ...plan, changes, installation: preview, restarts }
  terminal.write(options.json ? `${JSON.stringify(document, null, 2)}\n` : describe(plan, changes, preview, restarts))
  return isSame ? EXIT_SAME : EXIT_DIFFERS
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

/** Units that stop for a moment: those whose file changes, and with a new generation every ComfyUI and its worker. */
function restartsOf(
  { instances, workers }: MachinePlan,
  changes: readonly string[],
  { isNewGeneration }: InstallationPreview,
): readonly string[] {
  const changed = changes.filter((change) => change.startsWith('~ ')).map((change) => change.slice(2))
  const moved = isNewGeneration ? [...instances, ...workers].map(({ unit }) => unit) : []
  return [...new Set([...moved, ...changed.filter((name) => name.endsWith('.service'))])]
}

function describe(
  plan: MachinePlan,
  changes: readonly string[],
  preview: InstallationPreview,
  restarts: readonly string[],
): string {
  const gpus = plan.gpus.map((gpu) => `  ${gpu.name}  ${gpu.uuid ?? 'mock'}  ${gpu.model}  ${gpu.memoryMiB} MiB`)
  const workers = plan.workers.map((worker) => `  ${worker.unit}  ${worker.type}  queues ${worker.queues.join(', ')}`)
  const list = (items: readonly string[]): readonly string[] =>
    items.length === 0 ? ['  nothing changes'] : items.map((item) => `  ${item}`)
  return [
    ...['machine', `  ${plan.machineId}`, 'gpus', ...gpus, 'workers', ...workers],
    ...previewLines(preview),
    ...['units', ...list(changes), 'restarts', ...list(restarts), ''],
  ].join('\n')
}
