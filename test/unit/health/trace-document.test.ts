import { describe, expect, test } from 'vitest'
import { startupDocument, traceDocument } from '../../../src/health/trace-document.ts'
import { findStartups, type Trace } from '../../../src/health/trace-model.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { STARTUP_SPAN } from '../../../src/steps.ts'
import { BEGUN_US, buildFailedStartup, buildIncident, buildStartup, TRACE_ID } from './build-trace.ts'

function only(records: readonly SpanRecord[]): Trace {
  const [found] = findStartups(records)
  if (found === undefined) throw new Error('no startup')
  return found
}

describe('the document of a trace', () => {
  test('has the startup, its critical path and every span with its parent', () => {
    const document = traceDocument(only([...buildStartup(2), buildIncident(90_000)]))
    const { spans, ...rest } = document
    expect(rest).toEqual({
      schema: 1,
      trace_id: TRACE_ID,
      machine_id: 'machine-1',
      started_at: '2026-09-21T14:13:20.000000Z',
      duration_ms: 58_200,
      outcome: 'ready',
      failing_code: null,
      critical_path: [1, 2, 5, 3, 4, 7, 8, 9, 10, 11, 13, 15, 16, 18, 19, 20, 21],
      missing_steps: [],
      incidents: [
        {
          trace_id: 'feed'.repeat(8),
          at: '2026-09-21T14:14:50.000000Z',
          at_us: BEGUN_US + 90_000_000,
          unit: 'comfyui@gpu1.service',
          code: 'CM1990',
          message: 'comfyui@gpu1.service was killed by signal 9',
        },
      ],
    })
    expect(spans).toHaveLength(buildStartup(2).length)
    expect(spans[0]).toMatchObject({ name: STARTUP_SPAN, parent_span_id: null, step_number: null })
    expect(spans.find(({ span_id }) => span_id === 's17/clone')).toMatchObject({
      parent_span_id: 's17/node comfyui-manager',
      step_number: 17,
      is_critical: false,
    })
  })

  test('has exact times, events and the error of a span, in a stable order of keys', () => {
    const { spans, ...rest } = traceDocument(only(buildFailedStartup()))
    const models = spans.find(({ span_id }) => span_id === 's18')
    expect(rest).toMatchObject({ outcome: 'failed', failing_code: 'CM1804', missing_steps: [19, 20, 21] })
    expect(models).toMatchObject({
      state: 'failed',
      is_critical: true,
      started_at: '2026-09-21T14:13:26.101000Z',
      ended_at: '2026-09-21T14:14:01.000000Z',
      start_us: BEGUN_US + 6_101_000,
      duration_us: 34_899_000,
      error: 'CM1804: ae.safetensors: sha256 is 3f01, expected 9a02',
      links: [],
    })
    expect(models?.events[1]).toMatchObject({
      name: 'machine.step.failure',
      at: '2026-09-21T14:14:01.000000Z',
      at_us: BEGUN_US + 41_000_000,
      attributes: { error_code: 'CM1804', retry_attempt: 2 },
    })
    expect(Object.keys(models?.attributes ?? {})).toEqual([
      'machine_id',
      'phase',
      'step.state',
      'step_name',
      'step_number',
    ])
    const shuffled = buildFailedStartup().map((span) => {
      return { ...span, attributes: Object.fromEntries(Object.entries(span.attributes).reverse()) }
    })
    const text = (records: readonly SpanRecord[]) => JSON.stringify(traceDocument(only(records)))
    expect(text(shuffled)).toBe(text(buildFailedStartup()))
  })

  test('marks the root that is not on record', () => {
    const trace = only(buildStartup(1).filter(({ name }) => name !== STARTUP_SPAN))
    expect(traceDocument(trace).spans[0]).toMatchObject({ state: 'unfinished', error: null })
    expect(startupDocument(trace)).toMatchObject({ outcome: 'unfinished', failing_code: null })
  })
})
