import type { SpanLink, SpanRecord } from '../host/ports.ts'
import type { Happening, Machine } from '../observe/machine.ts'
import type { FailingState, InstanceState, StepState } from '../observe/state.ts'
import type { Attributes, ReportChild } from '../report.ts'
import { FAILURE_EVENT, INCIDENT_SPAN, STARTUP_SPAN, stepOf } from '../steps.ts'
import { rootSpanId, spanIdOf, spanIdOfInvocation } from '../trace-context.ts'

type StepEnded = Extract<Happening, { kind: 'step-ended' }>
type AttemptFailed = Extract<Happening, { kind: 'attempt-failed' }>
type SpanEvent = SpanRecord['events'][number]

/** What every span of a startup carries beside its own. */
export interface TraceContext {
  readonly traceId: string
  readonly resource: Attributes
}

/** The spans of a step that has ended: itself, one per GPU, one per piece of its work. */
export function stepSpans(machine: Machine, ended: StepEnded, context: TraceContext): readonly SpanRecord[] {
  const { step } = ended
  const own = stepSpan(machine, ended, context)
  const endedInstances = step.instances.filter((instance) => instance.endUs !== undefined)
  const instances = endedInstances.map((instance) => instanceSpan(machine, step, instance, own.spanId, context))
  const children = ended.children.map((child, index) => childSpan(machine, step, child, index, own.spanId, context))
  return [own, ...instances, ...children]
}

/** The root span of a startup, with the step events in the order in which they completed. */
export function startupSpan(machine: Machine, endUs: number, context: TraceContext): SpanRecord {
  const { state } = machine
  const completed = state.steps
    .filter((step) => step.endUs !== undefined)
    .sort((a, b) => (a.endUs ?? 0) - (b.endUs ?? 0))
  const startUs = Math.min(state.startedUs, ...completed.map((step) => step.startUs ?? state.startedUs))
  const events = completed.map((step) => {
    return {
      name: step.event,
      atUs: step.endUs ?? endUs,
      attributes: { ...stepAttributes(machine, step), 'step.state': step.state },
    }
  })
  const reason = state.failing.map((failing) => `${failing.code}: ${failing.message}`).join('; ')
  return {
    ...context,
    spanId: rootSpanId(context.traceId),
    name: STARTUP_SPAN,
    startUs,
    endUs,
    attributes: { ...machineAttributes(machine), ...rootAttributes(machine), phase: state.phase },
    events,
    links: state.follows === undefined ? [] : [linkToStartup(state.follows.traceId, state.follows.reason)],
    ...(state.readyUs === undefined ? { error: reason === '' ? `the startup ended ${state.phase}` : reason } : {}),
  }
}

/** The root span of a startup that nobody ended, made of the spans it left: its host or its controller went down. */
export function interruptedSpan(
  startup: { readonly traceId: string; readonly startedUs: number },
  spans: readonly SpanRecord[],
): SpanRecord {
  const steps = spans.filter(({ parentSpanId }) => parentSpanId === rootSpanId(startup.traceId))
  const byEnd = steps.toSorted((a, b) => a.endUs - b.endUs)
  const { machine_id, gpu_mode, workers_config } = steps.at(-1)?.attributes ?? {}
  const known = Object.entries({ machine_id, gpu_mode, workers_config }).filter(([, value]) => value !== undefined)
  return {
    traceId: startup.traceId,
    spanId: rootSpanId(startup.traceId),
    name: STARTUP_SPAN,
    startUs: Math.min(startup.startedUs, ...spans.map(({ startUs }) => startUs)),
    endUs: Math.max(startup.startedUs, ...spans.map(({ endUs }) => endUs)),
    attributes: { ...Object.fromEntries(known), step_number: 0, step_name: 'Startup', phase: 'starting' } as Attributes,
    events: byEnd.map(({ name, endUs, attributes }) => ({ name, atUs: endUs, attributes })),
    links: [],
    error: 'the startup was interrupted: the host or the controller went down',
    resource: {},
  }
}

/** A link to the root of another startup, with why it is linked. */
function linkToStartup(traceId: string, reason: string): SpanLink {
  return { traceId, spanId: rootSpanId(traceId), attributes: { 'link.reason': reason } }
}

function rootAttributes({ state }: Machine): Attributes {
  return {
    step_number: 0,
    step_name: 'Startup',
    ...(state.restarts === 0 ? {} : { 'machine.controller.restarts': state.restarts }),
    ...(state.lostSpans === 0 ? {} : { 'telemetry.lost_spans': state.lostSpans }),
  }
}

/** A failure after step 21: a short trace of its own, linked to the startup's. */
export function incidentSpan(machine: Machine, attempt: AttemptFailed, context: TraceContext): SpanRecord {
  const { failing } = attempt
  const traceId = spanIdOf(context.traceId, `incident/${failing.unit}/${failing.atUs}`)
  const step = machine.state.steps[failing.step - 1]
  return {
    traceId: traceId + spanIdOf(traceId, 'incident'),
    spanId: spanIdOf(traceId, 'root'),
    name: INCIDENT_SPAN,
    startUs: Math.min(attempt.startUs || failing.atUs, failing.atUs),
    endUs: failing.atUs,
    attributes: {
      ...(step === undefined ? machineAttributes(machine) : stepAttributes(machine, step)),
      'systemd.unit': failing.unit,
      ...(failing.gpu === undefined ? {} : gpuAttributes(machine, failing.gpu)),
    },
    events: [failureEvent(failing, attempt.startUs)],
    links: [{ traceId: context.traceId, spanId: rootSpanId(context.traceId) }],
    error: `${failing.code}: ${failing.message}`,
    resource: context.resource,
  }
}

/** The span id of a step: its unit's invocation where it has one unit of its own, else from its number. */
export function stepSpanId(traceId: string, number: number, invocationId: string | undefined): string {
  const owned = stepOf(number).owner.kind === 'unit' && invocationId !== undefined && invocationId !== ''
  return owned ? spanIdOfInvocation(invocationId) : spanIdOf(traceId, `step/${number}`)
}

function stepSpan(machine: Machine, { step, unit, attempts }: StepEnded, context: TraceContext): SpanRecord {
  const single = step.instances.length === 0
  const errors = attempts.map(({ code, message }) => `${code}: ${message}`)
  return {
    ...context,
    spanId: stepSpanId(context.traceId, step.number, single ? step.invocationId : undefined),
    parentSpanId: rootSpanId(context.traceId),
    name: step.event,
    startUs: step.startUs ?? step.endUs ?? 0,
    endUs: step.endUs ?? step.startUs ?? 0,
    attributes: {
      ...stepAttributes(machine, step),
      ...step.attributes,
      'step.state': step.state,
      ...(single && step.unit !== undefined
        ? unitAttributes(step.unit, step.invocationId ?? '', unit?.result ?? 'success')
        : {}),
    },
    events: attempts.map((attempt): SpanEvent => failureEvent(attempt, step.startUs ?? attempt.atUs)),
    links: [],
    ...(step.state === 'failed' ? { error: errors.at(-1) ?? 'failed' } : {}),
  }
}

function instanceSpan(
  machine: Machine,
  step: StepState,
  instance: InstanceState,
  parent: string,
  context: TraceContext,
): SpanRecord {
  const unit = machine.snapshots.get(instance.unit)
  const invocation = step.number === 13 ? undefined : unit?.invocationId
  const atUs = instance.endUs ?? instance.startUs ?? step.endUs ?? 0
  const failures = machine.state.attempts.filter((each) => each.step === step.number && each.unit === instance.unit)
  const last = failures.at(-1)
  return {
    ...context,
    spanId:
      invocation === undefined || invocation === ''
        ? spanIdOf(context.traceId, `step/${step.number}/${instance.gpu}`)
        : spanIdOfInvocation(invocation),
    parentSpanId: parent,
    name: `${step.event} ${instance.gpu}`,
    startUs: instance.startUs ?? atUs,
    endUs: atUs,
    attributes: {
      ...stepAttributes(machine, step),
      ...gpuAttributes(machine, instance.gpu),
      ...unitAttributes(instance.unit, invocation ?? '', unit?.result ?? ''),
      'step.state': instance.state,
    },
    events: failures.map((failing) => failureEvent(failing, instance.startUs ?? failing.atUs)),
    links: [],
    ...(instance.state === 'failed' ? { error: last === undefined ? 'failed' : `${last.code}: ${last.message}` } : {}),
  }
}

function childSpan(
  machine: Machine,
  step: StepState,
  child: ReportChild,
  index: number,
  parent: string,
  context: TraceContext,
): SpanRecord {
  const failure = child.failure && `${child.failure.code}: ${child.failure.message}`
  return {
    ...context,
    spanId: spanIdOf(context.traceId, `step/${step.number}/${index}/${child.name}`),
    parentSpanId: parent,
    name: child.name,
    startUs: child.startUs,
    endUs: child.endUs,
    attributes: { ...stepAttributes(machine, step), ...child.attributes, 'step.state': child.state },
    events: [],
    links: [],
    ...(failure === undefined ? {} : { error: failure }),
  }
}

function failureEvent(failing: FailingState, startUs: number): SpanEvent {
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
  }
  return { name: FAILURE_EVENT, atUs: failing.atUs, attributes }
}

function machineAttributes({ state }: Machine): Attributes {
  return { machine_id: state.machineId, gpu_mode: state.gpuMode, workers_config: state.workersConfig }
}

function stepAttributes(machine: Machine, step: StepState): Attributes {
  const { legacyEvent, title, phase } = stepOf(step.number)
  const own = { step_number: step.number, step_name: title, phase }
  return { ...machineAttributes(machine), ...own, ...(legacyEvent === undefined ? {} : { legacy_event: legacyEvent }) }
}

// A start job that was only queued (step 13) has no invocation yet, and so no result.
const unitAttributes = (name: string, invocationId: string, result: string): Attributes => {
  if (invocationId === '') return { 'systemd.unit': name }
  return { 'systemd.unit': name, 'systemd.invocation_id': invocationId, 'systemd.result': result }
}

function gpuAttributes({ state }: Machine, name: string): Attributes {
  const gpu = state.gpus.find((candidate) => candidate.name === name)
  return gpu === undefined ? {} : { 'gpu.index': gpu.index, 'gpu.uuid': gpu.uuid ?? `MOCK-${gpu.index}` }
}
