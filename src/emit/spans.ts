import type { SpanRecord } from '../host/ports.ts'
import type { Happening, Machine } from '../observe/machine.ts'
import type { InstanceState, StepState } from '../observe/state.ts'
import type { Attributes, ReportedWork } from '../report.ts'
import { stepOf } from '../steps.ts'
import { rootSpanId, spanIdOf, spanIdOfInvocation, spanIdOfWork } from '../trace-context.ts'
import { failureEvent, gpuAttributes, stepAttributes, unitAttributes } from './span-attributes.ts'

type StepEnded = Extract<Happening, { kind: 'step-ended' }>

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
  const invocationId = ended.unit?.invocationId || context.traceId
  const place = { parent: own.spanId, invocationId, keys: [] }
  const children = ended.children.flatMap((child) => childSpan(machine, step, child, place, context))
  return [own, ...instances, ...children]
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
      ...step.attributes,
      ...stepAttributes(machine, step),
      'step.state': step.state,
      ...(single && step.unit !== undefined
        ? unitAttributes(step.unit, step.invocationId ?? '', unit?.result ?? 'success')
        : {}),
    },
    events: attempts.map((attempt) => failureEvent(attempt, step.startUs ?? attempt.atUs)),
    links: [],
    ...(step.state === 'failed' ? { error: errors.at(-1) ?? 'failed' } : {}),
  }
}

/** The span id of a step's part for one GPU: the unit's invocation, but for a start job that is only queued (step 13). */
export function instanceSpanId(machine: Machine, number: number, instance: InstanceState): string {
  const invocation = invocationOf(machine, number, instance)
  return invocation === ''
    ? spanIdOf(machine.state.traceId, `step/${number}/${instance.gpu}`)
    : spanIdOfInvocation(invocation)
}

function invocationOf(machine: Machine, number: number, { unit }: InstanceState): string {
  return stepOf(number).owner.kind === 'job' ? '' : (machine.snapshots.get(unit)?.invocationId ?? '')
}

function instanceSpan(
  machine: Machine,
  step: StepState,
  instance: InstanceState,
  parent: string,
  context: TraceContext,
): SpanRecord {
  const unit = machine.snapshots.get(instance.unit)
  const invocation = invocationOf(machine, step.number, instance)
  const atUs = instance.endUs ?? instance.startUs ?? step.endUs ?? 0
  const failures = machine.state.attempts.filter((each) => each.step === step.number && each.unit === instance.unit)
  const last = failures.at(-1)
  return {
    ...context,
    spanId: instanceSpanId(machine, step.number, instance),
    parentSpanId: parent,
    name: `${step.event} ${instance.gpu}`,
    startUs: instance.startUs ?? atUs,
    endUs: atUs,
    attributes: {
      ...stepAttributes(machine, step),
      ...gpuAttributes(machine, instance.gpu),
      ...unitAttributes(instance.unit, invocation, unit?.result ?? ''),
      'step.state': instance.state,
    },
    events: failures.map((failing) => failureEvent(failing, instance.startUs ?? failing.atUs)),
    links: [],
    ...(instance.state === 'failed' ? { error: last === undefined ? 'failed' : `${last.code}: ${last.message}` } : {}),
  }
}

/** The span of a piece of work of a step's unit and, after it, those of the pieces it consists of. */
export function childSpan(
  machine: Machine,
  step: Pick<StepState, 'number' | 'title' | 'unit'>,
  child: ReportedWork,
  place: { readonly parent: string; readonly invocationId: string; readonly keys: readonly string[] },
  context: TraceContext,
): readonly SpanRecord[] {
  const keys = [...place.keys, child.key ?? child.name]
  const spanId = spanIdOfWork(place.invocationId, keys)
  const unit = step.unit ?? ''
  const failings = (child.attempts ?? []).map((each) => {
    return { ...each, step: step.number, stepName: step.title, unit, run: '' }
  })
  const failure = child.failure && `${child.failure.code}: ${child.failure.message}`
  const own: SpanRecord = {
    ...context,
    spanId,
    parentSpanId: place.parent,
    name: child.name,
    startUs: child.startUs,
    endUs: child.endUs,
    attributes: { ...child.attributes, ...stepAttributes(machine, step), 'step.state': child.state },
    events: failings.map((failing) => failureEvent(failing, child.startUs)),
    links: [],
    ...(failure === undefined ? {} : { error: failure }),
  }
  const below = { ...place, parent: spanId, keys }
  return [own, ...(child.children ?? []).flatMap((each) => childSpan(machine, step, each, below, context))]
}
