import type { MachinePlan } from '../plan/plan.ts'
import { stepOf } from '../steps.ts'
import { spanIdOfInvocation } from '../trace-context.ts'

/** What every journal entry of a unit's process carries: its step, its GPU, and the span that shows this run of the unit. */
export function unitFields(
  step: number,
  env: Readonly<Record<string, string | undefined>>,
  known: { readonly gpu?: string; readonly plan?: MachinePlan } = {},
): Readonly<Record<string, string>> {
  const { number, event, phase } = stepOf(step)
  const { gpu, plan } = known
  const invocation = env['INVOCATION_ID'] ?? ''
  return {
    COMFY_STEP: String(number),
    COMFY_EVENT: event,
    COMFY_PHASE: phase,
    ...(gpu === undefined ? {} : { COMFY_GPU: gpu }),
    ...(plan === undefined
      ? {}
      : { COMFY_MACHINE_ID: plan.machineId, COMFY_TRACE_ID: plan.traceId, TRACE_ID: plan.traceId }),
    ...(invocation === '' ? {} : { SPAN_ID: spanIdOfInvocation(invocation) }),
  }
}
