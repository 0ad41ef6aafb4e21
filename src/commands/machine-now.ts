import { loadConfig } from '../config/load-config.ts'
import { errorOfProblems } from '../config/problem.ts'
import { MachineError } from '../errors.ts'
import { openRecord, type Sighting } from '../health/record.ts'
import { systemClock } from '../host/clock.ts'
import { readConfigSources } from '../host/config-files.ts'
import { systemFiles } from '../host/files.ts'
import { readIdentity } from '../host/identity.ts'
import { rolloutSentence } from '../observe/rollout-sentence.ts'
import { readPlan } from './read-plan.ts'

/** What a command knows of the machine before it asks for another generation. */
export interface MachineNow {
  readonly workspace: string
  /** The models folder. */
  readonly models: string
  readonly sighting: Sighting
}

/** Throws CM0002 unless the command is run by root: it writes where only root may. */
export function requireRoot(command: string): void {
  if (process.getuid?.() === 0) return
  throw new MachineError('CM0002', `comfy-machine ${command} is for root only`, {
    hint: `Run sudo comfy-machine ${command}.`,
  })
}

/** The machine as it stands: its folders from the plan it was started with, or from the configuration when there is none. */
export async function readMachineNow(): Promise<MachineNow> {
  const sighting = await openRecord(systemFiles, systemClock).look()
  const plan = await readPlan(systemFiles, {}).catch((error: unknown) => {
    if (error instanceof MachineError) return undefined
    throw error
  })
  if (plan !== undefined) return { workspace: plan.paths.workspace, models: plan.paths.models, sighting }
  const { sources, problems } = await readConfigSources(systemFiles)
  const { config, problems: others } = loadConfig(sources, await readIdentity(systemFiles))
  if (config === undefined)
    throw errorOfProblems([...problems, ...others]) ?? new MachineError('CM0304', 'no configuration')
  return { workspace: config.workspace, models: config.models, sighting }
}

/** How a machine takes a wish for another generation: at once, with its next start, or not now. Throws CM1912 when not now. */
export function judgeMachine({ state, alive }: Sighting): 'running' | 'stopped' {
  const phase = state?.phase
  if (state === undefined || !alive || phase === 'stopped' || phase === 'failed') return 'stopped'
  if (phase === 'starting') throw new MachineError('CM1912', 'the machine starts now')
  const rollout = rolloutSentence(state)
  if (rollout !== undefined)
    throw new MachineError('CM1912', rollout, { hint: 'Wait until it has ended; comfy-machine status shows it.' })
  return 'running'
}
