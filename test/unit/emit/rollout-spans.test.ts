import { expect, test } from 'vitest'
import { rolloutSpans } from '../../../src/emit/rollout-spans.ts'
import type { RolloutState } from '../../../src/observe/state.ts'
import { rootSpanId } from '../../../src/trace-context.ts'
import { at, planned, TRACE_ID } from '../observe/build-machine.ts'

const rollout: RolloutState = {
  ...{ generation: 'b', direction: 'back', startUs: at(1), gpu: 'gpu0', sinceUs: null },
  moves: [
    { gpu: 'gpu0', direction: 'forward', startUs: at(1), endUs: at(3) },
    { gpu: 'gpu0', direction: 'back', startUs: at(3) },
  ],
}

test('a rollout is a trace of its own, linked to the startup, with a span per move', () => {
  const spans = rolloutSpans(planned(), rollout, { endUs: at(5), outcome: 'sent-back', error: 'CM1902: node-alpha' })
  const [first, second, root] = spans
  expect(root).toMatchObject({
    ...{ name: 'machine.rollout', startUs: at(1), endUs: at(5), error: 'CM1902: node-alpha' },
    attributes: { machine_id: 'm1', 'comfyui.generation': 'b', 'rollout.outcome': 'sent-back' },
    links: [{ traceId: TRACE_ID, spanId: rootSpanId(TRACE_ID) }],
  })
  expect(root?.traceId).toMatch(/^[0-9a-f]{32}$/)
  expect(root?.traceId).not.toBe(TRACE_ID)
  expect(first).toMatchObject({ parentSpanId: root?.spanId, startUs: at(1), endUs: at(3) })
  expect(second).toMatchObject({ parentSpanId: root?.spanId, startUs: at(3), endUs: at(5) })
  expect(second?.attributes).toMatchObject({ 'gpu.index': 0, 'rollout.direction': 'back' })
  expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(3)
  expect(rolloutSpans(planned(), rollout, { endUs: at(6), outcome: 'sent-back' }).at(-1)?.spanId).toBe(root?.spanId)
})
