import type { SpanRecord } from '../host/ports.ts'
import type { Happening, Machine } from '../observe/machine.ts'
import { LATER_MODELS_SPAN, MODELS_STEP, stepOf } from '../steps.ts'
import { rootSpanId, spanIdOfInvocation } from '../trace-context.ts'
import { stepAttributes, unitAttributes } from './span-attributes.ts'
import { childSpan, type TraceContext } from './spans.ts'

/**
 * The loading of models after the start as a trace of its own, linked to the startup: the models and the root. The trace id is
 * the InvocationID of the run. None for a run that found everything in place.
 */
export function laterModelsSpans(
  machine: Machine,
  { loading, unit, children, failure }: Extract<Happening, { kind: 'later-models-ended' }>,
  startup: TraceContext,
): readonly SpanRecord[] {
  if (failure === undefined && children.every(({ state }) => state === 'skipped')) return []
  const { invocationId, startUs, endUs = startUs } = loading
  const context = { traceId: invocationId, resource: startup.resource }
  const spanId = spanIdOfInvocation(invocationId)
  const place = { parent: spanId, invocationId, keys: [] }
  const step = { number: MODELS_STEP, title: stepOf(MODELS_STEP).title, unit: unit.name }
  const root: SpanRecord = {
    ...context,
    spanId,
    name: LATER_MODELS_SPAN,
    startUs,
    endUs,
    attributes: {
      ...loading.attributes,
      ...stepAttributes(machine, step),
      ...unitAttributes(unit.name, invocationId, unit.result),
    },
    events: [],
    links: [{ traceId: startup.traceId, spanId: rootSpanId(startup.traceId) }],
    ...(failure === undefined ? {} : { error: `${failure.code}: ${failure.message}` }),
  }
  return [...children.flatMap((child) => childSpan(machine, step, child, place, context)), root]
}
