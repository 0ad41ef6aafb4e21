import path from 'node:path'
import type { MachinePlan } from '../plan/plan.ts'
import { secretsDirectory } from '../render/common-values.ts'
import type { RenderedUnit } from '../render/render-units.ts'
import { unitPath, type WantedFile } from './diff.ts'

/** Name of the plan below the run directory. */
export const PLAN_FILE = 'plan.json'

/** Every file that a plan wants: the plan itself, the units, one file per secret for systemd's LoadCredential=. */
export function filesOf(
  plan: MachinePlan,
  units: readonly RenderedUnit[],
  secrets: ReadonlyMap<string, string>,
): readonly WantedFile[] {
  return [
    { path: path.join(plan.paths.run, PLAN_FILE), text: `${JSON.stringify(plan, null, 2)}\n`, mode: 0o644 },
    ...units.map(({ name, text }) => ({ path: unitPath(name), text, mode: 0o644 })),
    ...[...secrets].map(([name, text]) => ({ path: path.join(secretsDirectory(plan), name), text, mode: 0o600 })),
  ]
}
