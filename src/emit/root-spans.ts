import type { SpanLink, SpanRecord } from '../host/ports.ts'
import { describeShortfalls } from '../observe/fold-shortfall.ts'
import type { Happening, Machine } from '../observe/machine.ts'
import type { FailingState } from '../observe/state.ts'
import type { Attributes } from '../report.ts'
import { INCIDENT_SPAN, RECOVERY_SPAN, STARTUP_SPAN } from '../steps.ts'
import { rootSpanId, spanIdOf } from '../trace-context.ts'
import { failureEvent, gpuAttributes, machineAttributes, stepAttributes } from './span-attributes.ts'
import type { TraceContext } from './spans.ts'

type AttemptFailed = Extract<Happening, { kind: 'attempt-failed' }>
type Recovered = Extract<Happening, { kind: 'recovered' }>

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
    ...(state.shortfalls.length === 0 ? {} : { 'machine.shortfalls': describeShortfalls(state.shortfalls) }),
  }
}

/** Where the spans of a failure after step 21 are: a trace of their own. */
export function incidentContext(startup: string, failing: Pick<FailingState, 'unit' | 'atUs'>): SpanLink {
  const half = spanIdOf(startup, `incident/${failing.unit}/${failing.atUs}`)
  return { traceId: half + spanIdOf(half, 'incident'), spanId: spanIdOf(half, 'root') }
}

/** A failure after step 21: a short trace of its own, linked to the startup's. */
export function incidentSpan(machine: Machine, attempt: AttemptFailed, context: TraceContext): SpanRecord {
  const { failing } = attempt
  return {
    ...incidentContext(context.traceId, failing),
    name: INCIDENT_SPAN,
    startUs: Math.min(attempt.startUs || failing.atUs, failing.atUs),
    endUs: failing.atUs,
    attributes: incidentAttributes(machine, failing),
    events: [failureEvent(failing, attempt.startUs)],
    links: [{ traceId: context.traceId, spanId: rootSpanId(context.traceId) }],
    error: `${failing.code}: ${failing.message}`,
    resource: context.resource,
  }
}

/** A unit that is back after it failed: a span over the time it was away, in the trace of that failure. */
export function recoverySpan(machine: Machine, { failing, atUs }: Recovered, context: TraceContext): SpanRecord {
  const { traceId, spanId } = incidentContext(context.traceId, failing)
  return {
    traceId,
    spanId: spanIdOf(spanId, 'recovery'),
    parentSpanId: spanId,
    name: RECOVERY_SPAN,
    startUs: failing.atUs,
    endUs: Math.max(failing.atUs, atUs),
    attributes: incidentAttributes(machine, failing),
    events: [],
    links: [],
    resource: context.resource,
  }
}

function incidentAttributes(machine: Machine, failing: FailingState): Attributes {
  return {
    ...stepAttributes(machine, { number: failing.step }),
    'systemd.unit': failing.unit,
    ...(failing.gpu === undefined ? {} : gpuAttributes(machine, failing.gpu)),
  }
}
