import type { SpanRecord } from '../host/ports.ts'
import type { Machine } from '../observe/machine.ts'
import type { FailingState, StepState } from '../observe/state.ts'
import type { Attributes } from '../report.ts'
import { FAILURE_EVENT, stepOf } from '../steps.ts'

type SpanEvent = SpanRecord['events'][number]

/** What every span says of the machine. */
export function machineAttributes({ state }: Machine): Attributes {
  return { machine_id: state.machineId, gpu_mode: state.gpuMode, workers_config: state.workersConfig }
}

/** What every span within a step says of it. */
export function stepAttributes(machine: Machine, step: Pick<StepState, 'number'>): Attributes {
  const { legacyEvent, number, title, phase } = stepOf(step.number)
  const own = { step_number: number, step_name: title, phase }
  return { ...machineAttributes(machine), ...own, ...(legacyEvent === undefined ? {} : { legacy_event: legacyEvent }) }
}

/** The unit that a span shows. A start job that was only queued (step 13) has no invocation yet, and so no result. */
export function unitAttributes(name: string, invocationId: string, result: string): Attributes {
  if (invocationId === '') return { 'systemd.unit': name }
  return { 'systemd.unit': name, 'systemd.invocation_id': invocationId, 'systemd.result': result }
}

/** The GPU that a span is about. */
export function gpuAttributes({ state }: Machine, name: string): Attributes {
  const gpu = state.gpus.find((candidate) => candidate.name === name)
  return gpu === undefined ? {} : { 'gpu.index': gpu.index, 'gpu.uuid': gpu.uuid ?? `MOCK-${gpu.index}` }
}

/** The event of a failed attempt: what failed, how systemd saw it end, and the unit's last lines in the journal. */
export function failureEvent(failing: FailingState, startUs: number): SpanEvent {
  const known = {
    'systemd.result': failing.result,
    'systemd.invocation_id': failing.invocationId,
    'process.exit.code': failing.exitStatus,
    'process.exit.signal': failing.exitSignal,
    given_up: failing.givenUp,
    'journal.lines': failing.lines?.join('\n'),
  }
  const attributes = {
    step_number: failing.step,
    step_name: failing.stepName,
    error_type: failing.type,
    error_message: failing.message,
    retry_attempt: failing.attempt,
    duration_ms: Math.max(0, Math.round((failing.atUs - startUs) / 1000)),
    error_code: failing.code,
    unit: failing.unit,
    hint: failing.hint,
    ...Object.fromEntries(Object.entries(known).filter(([, value]) => value !== undefined && value !== '')),
  }
  return { name: FAILURE_EVENT, atUs: failing.atUs, attributes }
}
