import type { SpanRecord } from '../host/ports.ts'
import type { Machine } from '../observe/machine.ts'
import type { RolloutState } from '../observe/state.ts'
import { ROLLOUT_GPU_SPAN, ROLLOUT_SPAN } from '../steps.ts'
import { rootSpanId, spanIdOf } from '../trace-context.ts'
import { gpuAttributes, machineAttributes } from './span-attributes.ts'

/** How a rollout ended, for its trace. */
export interface RolloutOutcome {
  readonly endUs: number
  readonly outcome: string
  /** Why it was sent back. */
  readonly error?: string
}

/** A rollout as a trace of its own, linked to the startup: the root, and a span for each time that a GPU was moved. */
export function rolloutSpans(
  machine: Machine,
  rollout: RolloutState,
  { endUs, outcome, error }: RolloutOutcome,
): readonly SpanRecord[] {
  const { traceId } = machine.state
  const half = spanIdOf(traceId, `rollout/${rollout.generation}/${rollout.startUs}`)
  const context = { traceId: half + spanIdOf(half, 'rollout'), events: [], resource: {} }
  const spanId = spanIdOf(half, 'root')
  const generation = { ...machineAttributes(machine), 'comfyui.generation': rollout.generation }
  const moves = rollout.moves.map((move, index) => ({
    ...context,
    spanId: spanIdOf(half, `move/${index}`),
    parentSpanId: spanId,
    name: ROLLOUT_GPU_SPAN,
    startUs: move.startUs,
    endUs: Math.max(move.startUs, move.endUs ?? endUs),
    attributes: { ...generation, ...gpuAttributes(machine, move.gpu), 'rollout.direction': move.direction },
    links: [],
  }))
  const root = {
    ...context,
    spanId,
    name: ROLLOUT_SPAN,
    startUs: rollout.startUs,
    endUs: Math.max(rollout.startUs, endUs),
    attributes: { ...generation, 'rollout.outcome': outcome },
    links: [{ traceId, spanId: rootSpanId(traceId) }],
    ...(error === undefined ? {} : { error }),
  }
  return [...moves, root]
}
