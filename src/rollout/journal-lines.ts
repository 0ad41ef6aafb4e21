import type { JournalEntry, Priority } from '../host/ports.ts'
import type { MachineState } from '../observe/state.ts'
import type { RolloutFacts, RolloutStep } from './plan-rollout.ts'

/** What a line of a rollout is about. */
interface Subject {
  readonly generation: string
  readonly gpu?: string
  readonly state: 'begun' | 'moving' | 'moved' | 'proven' | 'rejected' | 'done' | 'sent-back' | 'refused'
}

/** A line of the journal about a rollout. */
export function rolloutLine(
  { machineId, traceId }: MachineState,
  message: string,
  { generation, gpu, state }: Subject,
  priority: Priority = 'notice',
): JournalEntry {
  return {
    message,
    priority,
    fields: {
      COMFY_MACHINE_ID: machineId,
      COMFY_TRACE_ID: traceId,
      COMFY_GENERATION: generation,
      COMFY_STATE: state,
      ...(gpu === undefined ? {} : { COMFY_GPU: gpu }),
    },
  }
}

/** The first line of a rollout: who tries the generation. */
export function beginLine(state: MachineState, facts: RolloutFacts, generation: string): JournalEntry {
  const [canary, ...others] = facts.gpus.map(({ name }) => name)
  const known = facts.record.proven.includes(generation)
  const rest = others.length === 0 ? '' : `; ${others.join(', ')} ${others.length === 1 ? 'follows' : 'follow'}`
  const message = known
    ? `generation ${generation} proved itself before: it goes to ${facts.gpus.map(({ name }) => name).join(', ')} one by one`
    : `generation ${generation} goes to ${canary ?? 'no GPU'} first${rest} when it has proved itself`
  return rolloutLine(state, message, { generation, state: 'begun' })
}

/** The line of a changed record; undefined where the record only keeps what was told. */
export function recordLine(
  state: MachineState,
  facts: RolloutFacts,
  step: Extract<RolloutStep, { kind: 'record' }>,
): JournalEntry | undefined {
  const generation = facts.next
  if (generation === undefined) return undefined
  if (step.why === 'proven') {
    const gpu = facts.gpus[0]?.name ?? ''
    return rolloutLine(state, `generation ${generation} proved itself on ${gpu}`, { generation, gpu, state: 'proven' })
  }
  const why = step.record.rejected[generation]
  if (step.why !== 'rejected' || why === undefined) return undefined
  const message = `generation ${generation} is sent back: ${why.unit} ${why.code} ${why.message}`
  return rolloutLine(state, message, { generation, gpu: why.gpu, state: 'rejected' }, 'err')
}

/** Why a generation is not tried, or not any more; a warning that everybody who looks at the machine sees. */
export function endWarning(
  { record, current }: RolloutFacts,
  { end, generation }: Extract<RolloutStep, { kind: 'forget-next' }>,
): string {
  const why = record.rejected[generation]
  const reason = why === undefined ? '' : `: ${why.unit} ${why.code} ${why.message.replace(/\.$/, '')}`
  const what = end === 'refused' ? 'is wanted and was sent back before' : 'was sent back'
  return `generation ${generation} ${what}${reason}; the machine stays on ${current}, comfy-machine update tries again`
}
