import { unitPath } from '../apply/diff.ts'
import { loadConfig, type MachineConfig } from '../config/load-config.ts'
import { loadMapping } from '../config/load-mapping.ts'
import { errorOfProblems } from '../config/problem.ts'
import { chooseGpus } from '../detect/choose-gpus.ts'
import { MachineError } from '../errors.ts'
import { readConfigSources, readMappingSource } from '../host/config-files.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import { readGpuEvidence } from '../host/gpu-evidence.ts'
import { readIdentity } from '../host/identity.ts'
import { readTemplates } from '../host/templates.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { planMachine } from '../plan/plan-machine.ts'
import { type RenderedUnit, renderUnits } from '../render/render-units.ts'
import { VERSION } from '../version.ts'
import { readPlan } from './read-plan.ts'

/** What a start now would make of the configuration. */
export interface PlannedStart {
  readonly plan: MachinePlan
  readonly units: readonly RenderedUnit[]
  readonly config: MachineConfig
}

/**
 * The plan of the configuration as it is now, with its units; nothing is written. It bears the trace id of the running start,
 * so that only real differences show. Throws what a start would throw.
 */
export async function makePlan(envFiles: readonly string[]): Promise<PlannedStart> {
  const { sources, problems } = await readConfigSources(systemFiles, envFiles)
  const loaded = loadConfig(sources, await readIdentity(systemFiles))
  const mapping = loadMapping(await readMappingSource(systemFiles), loaded.config)
  const error = errorOfProblems([...problems, ...loaded.problems, ...mapping.problems])
  if (error !== undefined) throw error
  if (loaded.config === undefined || mapping.mapping === undefined)
    throw new MachineError('CM0802', 'the service mapping is empty')
  const evidence = loaded.config.gpuMode === 'mock' ? null : await readGpuEvidence(systemExec, systemFiles)
  const hardware = chooseGpus(loaded.config, evidence)
  const identity = { version: VERSION, traceId: await runningTraceId() }
  const plan = planMachine(loaded.config, mapping.mapping, hardware, identity)
  return { plan, units: renderUnits(plan, await readTemplates(systemFiles)), config: loaded.config }
}

/** What would happen to units: `+ NAME` for one that is not there, `~ NAME` for one with another text; nothing for the rest. */
export async function changesOf(units: readonly RenderedUnit[]): Promise<readonly string[]> {
  const differs = async ({ name, text }: RenderedUnit): Promise<string | undefined> => {
    const present = await systemFiles.readText(unitPath(name))
    if (present === text) return undefined
    return present === undefined ? `+ ${name}` : `~ ${name}`
  }
  return (await Promise.all(units.map(differs))).filter((change) => change !== undefined)
}

async function runningTraceId(): Promise<string> {
  try {
    return (await readPlan(systemFiles, {})).traceId
  } catch (error) {
    if (error instanceof MachineError) return '0'.repeat(32)
    throw error
  }
}
