import type { Machine } from '../observe/machine.ts'
import type { FailingState } from '../observe/state.ts'
import { stepOf } from '../steps.ts'

type Fields = Readonly<Record<string, string>>

/** What every line about a machine says of it. */
export function commonFields({ state }: Machine): Fields {
  return { COMFY_MACHINE_ID: state.machineId, COMFY_TRACE_ID: state.traceId }
}

/** What a line about a step says of it. */
export function stepFields(number: number): Fields {
  return { COMFY_STEP: String(number), COMFY_PHASE: stepOf(number).phase }
}

/** The unit, and its GPU where it has one. */
export const unitFields = ({ unit, gpu }: Pick<FailingState, 'unit' | 'gpu'>): Fields =>
  gpu === undefined ? { COMFY_UNIT: unit } : { COMFY_UNIT: unit, COMFY_GPU: gpu }

/** How systemd saw a unit end. */
export function endFields({ result, exitStatus, exitSignal }: FailingState): Fields {
  const exit = exitSignal ?? (exitStatus === undefined ? undefined : String(exitStatus))
  return {
    ...(result === undefined ? {} : { COMFY_RESULT: result }),
    ...(exit === undefined ? {} : { COMFY_EXIT: exit }),
  }
}
