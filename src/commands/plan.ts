import path from 'node:path'
import { unitPath } from '../apply/diff.ts'
import { loadConfig } from '../config/load-config.ts'
import { loadMapping } from '../config/load-mapping.ts'
import { errorOfProblems } from '../config/problem.ts'
import { chooseGpus } from '../detect/choose-gpus.ts'
import { MachineError } from '../errors.ts'
import { readConfigSources, readMappingSource } from '../host/config-files.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import { readGpuEvidence } from '../host/gpu-evidence.ts'
import { readIdentity } from '../host/identity.ts'
import type { Terminal } from '../host/ports.ts'
import { readTemplates } from '../host/templates.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { planMachine } from '../plan/plan-machine.ts'
import { type RenderedUnit, renderUnits } from '../render/render-units.ts'
import { VERSION } from '../version.ts'
import { readPlan } from './read-plan.ts'

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

// The trace id is new at each start: with the one of the running start, only real differences show.
async function makePlan(
  envFiles: readonly string[],
): Promise<{ readonly plan: MachinePlan; readonly units: readonly RenderedUnit[] }> {
  const { sources, problems } = await readConfigSources(systemFiles, envFiles)
  const loaded = loadConfig(sources, await readIdentity(systemFiles))
  const mapping = loadMapping(await readMappingSource(systemFiles), loaded.config)
  const error = errorOfProblems([...problems, ...loaded.problems, ...mapping.problems])
  if (error !== undefined) throw error
  if (loaded.config === undefined || mapping.mapping === undefined)
    throw new MachineError('CM0802', 'the service mapping is empty')
  const evidence = loaded.config.gpuMode === 'mock' ? null : await readGpuEvidence(systemExec, systemFiles)
  const hardware = chooseGpus(loaded.config, evidence)
  const plan = planMachine(loaded.config, mapping.mapping, hardware, {
    version: VERSION,
    traceId: await runningTraceId(),
  })
  return { plan, units: renderUnits(plan, await readTemplates(systemFiles)) }
}

async function runningTraceId(): Promise<string> {
  try {
    return (await readPlan(systemFiles, {})).traceId
  } catch (error) {
    if (error instanceof MachineError) return '0'.repeat(32)
    throw error
  }
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
