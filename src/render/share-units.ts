import { type MachinePlan, SHARE_SOCKET } from '../plan/plan.ts'
import { logFields, type UnitToRender } from './common-values.ts'
import { quoteWord } from './escape.ts'

/** The port on which other machines get models from this one, and what answers there; none unless MODEL_SHARE_PORT is set. */
export function shareUnits(plan: MachinePlan): readonly UnitToRender[] {
  const { sharePort } = plan.models
  if (sharePort === null) return []
  const service = 'comfy-share-models.service'
  return [
    { name: SHARE_SOCKET, template: SHARE_SOCKET, values: { port: sharePort } },
    {
      name: service,
      template: service,
      values: { logFields: logFields(plan), models: quoteWord(`-${plan.paths.models}`) },
    },
  ]
}
