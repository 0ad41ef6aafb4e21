import type { Files } from '../host/ports.ts'
import type { MachinePlan } from '../plan/plan.ts'

/** Where the controller keeps the plan of the machine. */
export const PLAN_FILE = '/run/comfy-machine/plan.json'

const DEFAULT_WORKSPACE = '/var/lib/comfy-machine'

/** The workspace of the machine: the plan's, or the default one before there is a plan. */
export async function readWorkspace(files: Files): Promise<string> {
  const text = await files.readText(PLAN_FILE)
  if (text === undefined) return DEFAULT_WORKSPACE
  const plan = JSON.parse(text) as Partial<MachinePlan>
  return plan.paths?.workspace ?? DEFAULT_WORKSPACE
}
