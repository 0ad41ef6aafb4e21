import path from 'node:path'
import { LATER_MODELS, type MachinePlan } from '../plan/plan.ts'
import type { UnitToRender } from './common-values.ts'
import { installerUnit, isComponentSecret, isDiscoverySecret } from './installer-units.ts'

/**
 * The installers of a machine that runs: comfy-load-models brings the models that it starts without, comfy-update builds the
 * next generation beside the one that runs, comfy-collect removes generations that nobody needs. None is part of a start.
 */
export function rolloutUnits(plan: MachinePlan): readonly UnitToRender[] {
  const collect = installerUnit(plan, 'comfy-collect', () => false)
  // It does the work of all installers of a start.
  const update = installerUnit(plan, 'comfy-update', (name) => isComponentSecret(name) || isDiscoverySecret(name))
  const planFile = path.join(plan.paths.run, 'update', 'plan.json')
  const later = installerUnit(plan, LATER_MODELS.replace(/\.service$/, ''), isComponentSecret)
  return [later, { ...update, values: { ...update.values, planFile } }, collect]
}
