import { MachineError } from '../errors.ts'
import type { Files } from '../host/ports.ts'
import { type MachinePlan, PLAN_FILE } from '../plan/plan.ts'

/** The machine's plan for a unit's process; `COMFY_MACHINE_PLAN` names another file. Throws CM0003 where there is none. */
export async function readPlan(files: Files, env: Readonly<Record<string, string | undefined>>): Promise<MachinePlan> {
  const path = env['COMFY_MACHINE_PLAN'] ?? PLAN_FILE
  const text = await files.readText(path)
  if (text === undefined) throw new MachineError('CM0003', `${path} does not exist`)
  return JSON.parse(text) as MachinePlan
}
