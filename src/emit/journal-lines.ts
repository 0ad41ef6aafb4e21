import type { JournalEntry } from '../host/ports.ts'
import { describeShortfalls } from '../observe/fold-shortfall.ts'
import type { Happening, Machine } from '../observe/machine.ts'
import { rolloutSentence } from '../observe/rollout-sentence.ts'
import type { FailingState, InstanceState, LaterModelsState, ShortfallState, StepState } from '../observe/state.ts'
import { FAILURE_EVENT, MODELS_STEP, STEPS } from '../steps.ts'
import { spanIdOfInvocation } from '../trace-context.ts'
import { formatDuration } from './duration.ts'
import { commonFields, endFields, stepFields, unitFields } from './journal-fields.ts'
import { laterModelsBegun, laterModelsDone } from './later-models-words.ts'
import { incidentContext } from './root-spans.ts'
import { instanceSpanId, stepSpanId } from './spans.ts'

/** MESSAGE_ID of each kind of line the controller writes; every one has an entry in the journal catalog. */
export const MESSAGE_IDS = {
  stepDone: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a40',
  stepSkipped: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a41',
  stepFailed: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a42',
  machineReady: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a43',
  machineFailed: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a44',
  machineDegraded: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a45',
  machineStopped: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a46',
  instanceEnded: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a47',
  unitRecovered: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a48',
  shortfall: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a49',
  laterModelsBegun: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a4a',
  laterModelsDone: '6f2a4c1d9b7e4f0e8a3c5d7e9f1b2a4b',
} as const

/** The journal line of something that happened; undefined where nobody needs one. */
export function journalLine(machine: Machine, happening: Happening): JournalEntry | undefined {
  switch (happening.kind) {
    case 'step-ended':
      return happening.step.state === 'failed' ? undefined : endedLine(machine, happening.step)
    case 'attempt-failed':
      return failureLine(machine, happening.failing, happening.startUs)
    case 'phase-changed':
      return phaseLine(machine)
    case 'instance-ended':
      return instanceLine(machine, happening.step, happening.instance)
    case 'shortfall':
      return shortfallLine(machine, happening.shortfall)
    case 'recovered':
      return recoveredLine(machine, happening)
    case 'later-models-begun':
      return laterModelsLine(machine, happening.loading, laterModelsBegun(happening.loading))
    case 'later-models-ended':
      return hasLoaded(happening)
        ? laterModelsLine(machine, happening.loading, laterModelsDone(happening.loading))
        : undefined
  }
}

/** A warning of a stage, as the journal shows it. */
export function warningLine(machine: Machine, message: string): JournalEntry {
  return { message, priority: 'warning', fields: commonFields(machine) }
}

function endedLine(machine: Machine, step: StepState): JournalEntry {
  const durationUs = (step.endUs ?? 0) - (step.startUs ?? 0)
  const skipped = step.state === 'skipped'
  const spanId = stepSpanId(
    machine.state.traceId,
    step.number,
    step.instances.length === 0 ? step.invocationId : undefined,
  )
  return {
    message: `step ${step.number}/${STEPS.length} ${step.title}: ${step.state} in ${formatDuration(durationUs)}${summaryOf(step)}`,
    priority: 'info',
    messageId: skipped ? MESSAGE_IDS.stepSkipped : MESSAGE_IDS.stepDone,
    fields: {
      ...commonFields(machine),
      ...stepFields(step.number),
      COMFY_EVENT: step.event,
      COMFY_STATE: step.state,
      COMFY_DURATION_MS: String(Math.round(durationUs / 1000)),
      ...(step.unit === undefined ? {} : { COMFY_UNIT: step.unit }),
      TRACE_ID: machine.state.traceId,
      SPAN_ID: spanId,
    },
  }
}

function instanceLine(machine: Machine, step: StepState, instance: InstanceState): JournalEntry {
  const durationUs = (instance.endUs ?? 0) - (instance.startUs ?? 0)
  return {
    message: `step ${step.number}/${STEPS.length} ${step.title} ${instance.gpu}: ${instance.state} in ${formatDuration(durationUs)}`,
    priority: 'info',
    messageId: MESSAGE_IDS.instanceEnded,
    fields: {
      ...commonFields(machine),
      ...stepFields(step.number),
      COMFY_EVENT: step.event,
      COMFY_STATE: instance.state,
      COMFY_DURATION_MS: String(Math.round(durationUs / 1000)),
      COMFY_GPU: instance.gpu,
      COMFY_UNIT: instance.unit,
      TRACE_ID: machine.state.traceId,
      SPAN_ID: instanceSpanId(machine, step.number, instance),
    },
  }
}

function recoveredLine(machine: Machine, { failing, atUs }: Extract<Happening, { kind: 'recovered' }>): JournalEntry {
  const awayUs = Math.max(0, atUs - failing.atUs)
  return {
    message: `${failing.unit} is active again after ${formatDuration(awayUs)}`,
    priority: 'notice',
    messageId: MESSAGE_IDS.unitRecovered,
    fields: {
      ...commonFields(machine),
      ...stepFields(failing.step),
      ...unitFields(failing),
      COMFY_STATE: 'done',
      COMFY_DURATION_MS: String(Math.round(awayUs / 1000)),
      TRACE_ID: incidentContext(machine.state.traceId, failing).traceId,
    },
  }
}

// Models that fail are told one by one.
const hasLoaded = ({ loading, children }: Extract<Happening, { kind: 'later-models-ended' }>): boolean =>
  loading.state === 'done' && children.some(({ state }) => state === 'done')

function laterModelsLine(
  machine: Machine,
  { unit, invocationId, state }: LaterModelsState,
  message: string,
): JournalEntry {
  return {
    message,
    priority: 'notice',
    messageId: state === 'done' ? MESSAGE_IDS.laterModelsDone : MESSAGE_IDS.laterModelsBegun,
    fields: {
      ...commonFields(machine),
      ...stepFields(MODELS_STEP),
      COMFY_UNIT: unit,
      COMFY_STATE: state,
      TRACE_ID: invocationId,
      SPAN_ID: spanIdOfInvocation(invocationId),
    },
  }
}

function failureLine(machine: Machine, failing: FailingState, startUs: number): JournalEntry {
  const who = failing.gpu === undefined ? failing.stepName : `${failing.stepName} ${failing.gpu}`
  return {
    message: `step ${failing.step}/${STEPS.length} ${who}: ${failing.code} ${failing.message.replace(/\.$/, '')}. ${failing.hint}`,
    priority: 'err',
    messageId: MESSAGE_IDS.stepFailed,
    fields: {
      ...commonFields(machine),
      ...stepFields(failing.step),
      COMFY_EVENT: FAILURE_EVENT,
      COMFY_STATE: 'failed',
      COMFY_DURATION_MS: String(Math.max(0, Math.round((failing.atUs - startUs) / 1000))),
      COMFY_ERROR_CODE: failing.code,
      COMFY_ERROR_TYPE: failing.type,
      COMFY_ATTEMPT: String(failing.attempt),
      COMFY_HINT: failing.hint,
      ...unitFields(failing),
      ...endFields(failing),
      ...spanFields(machine, failing),
    },
  }
}

function shortfallLine(machine: Machine, shortfall: ShortfallState): JournalEntry {
  const { step, code, type, component, message, hint, gpu } = shortfall
  const who = gpu === undefined ? shortfall.stepName : `${shortfall.stepName} ${gpu}`
  return {
    message: `step ${step}/${STEPS.length} ${who}: goes on without ${component}: ${code} ${message.replace(/\.$/, '')}. ${hint}`,
    priority: 'warning',
    messageId: MESSAGE_IDS.shortfall,
    fields: {
      ...commonFields(machine),
      ...stepFields(step),
      ...unitFields(shortfall),
      COMFY_ERROR_CODE: code,
      COMFY_ERROR_TYPE: type,
      COMFY_HINT: hint,
      COMFY_COMPONENT: component,
      TRACE_ID: machine.state.traceId,
    },
  }
}

/** The span that shows a failure: the incident's after step 21, else the failed unit's; none while systemd tries again. */
function spanFields({ state }: Machine, failing: FailingState): Readonly<Record<string, string>> {
  if (state.readyUs !== undefined) {
    const { traceId, spanId } = incidentContext(state.traceId, failing)
    return { TRACE_ID: traceId, SPAN_ID: spanId }
  }
  const trace = { TRACE_ID: state.traceId }
  if (failing.willRestart === true) return trace
  return { ...trace, SPAN_ID: stepSpanId(state.traceId, failing.step, failing.invocationId) }
}

function phaseLine(machine: Machine): JournalEntry | undefined {
  const { state } = machine
  const fields = { ...commonFields(machine), COMFY_STATE: state.phase, TRACE_ID: state.traceId }
  const causes = causesOf(machine)
  switch (state.phase) {
    case 'ready': {
      const missing = describeShortfalls(state.shortfalls)
      const without = missing === '' ? '' : `, but without ${missing}`
      return {
        message: `the machine is ready: ${state.workers.length} workers${without}`,
        priority: missing === '' ? 'notice' : 'warning',
        messageId: MESSAGE_IDS.machineReady,
        fields: missing === '' ? fields : { ...fields, COMFY_SHORTFALLS: missing },
      }
    }
    case 'failed':
      return {
        message: `the machine is not ready: ${causes}`,
        priority: 'err',
        messageId: MESSAGE_IDS.machineFailed,
        fields,
      }
    case 'degraded':
      return {
        message: `the machine is no longer ready: ${causes}`,
        priority: 'warning',
        messageId: MESSAGE_IDS.machineDegraded,
        fields,
      }
    case 'stopped':
      return { message: 'the machine stops', priority: 'notice', messageId: MESSAGE_IDS.machineStopped, fields }
    case 'starting':
      return undefined
  }
}

function causesOf({ state, outcomes, snapshots }: Machine): string {
  const failing = [...new Set(state.failing.map(({ step, code }) => `step ${step} ${code}`))]
  if (failing.length > 0) return failing.join(', ')
  const rollout = rolloutSentence(state)
  if (rollout !== undefined) return rollout
  const isDown = (unit: string): boolean => snapshots.get(unit)?.activeState !== 'active'
  const down = [...outcomes].filter(([unit, outcome]) => outcome !== 'skipped' && isDown(unit)).map(([unit]) => unit)
  return down.length === 0 ? 'comfy-machine itself' : `${down.join(', ')} not active`
}

function summaryOf(step: StepState): string {
  const { summary } = step.attributes
  if (typeof summary === 'string') return ` (${summary})`
  return step.instances.length > 1 ? ` (${step.instances.length} GPUs)` : ''
}
