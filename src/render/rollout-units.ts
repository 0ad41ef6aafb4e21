import path from 'node:path'
import type { MachinePlan } from '../plan/plan.ts'
import type { CommonValues } from './metrics-units.ts'
import type { UnitToRender } from './unit-values.ts'

/** What the installers' units have beside what every unit has. */
export interface InstallerValues extends CommonValues {
  readonly traceparent: string
  readonly writable: readonly string[]
}

/**
 * The installers of a machine that runs: comfy-update builds the next generation beside the one that runs, comfy-collect
 * removes generations that nobody needs. Neither is part of a start.
 */
export function rolloutUnits(plan: MachinePlan, values: InstallerValues): readonly UnitToRender[] {
  const updatePlan = path.join(plan.paths.run, 'update', 'plan.json')
  return [
    { name: 'comfy-update.service', template: 'comfy-update.service', values: { ...values, plan: updatePlan } },
    { name: 'comfy-collect.service', template: 'comfy-collect.service', values: { ...values } },
  ]
}
