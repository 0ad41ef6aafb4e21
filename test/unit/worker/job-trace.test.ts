import { describe, expect, it } from 'vitest'
import { jobFields, openJobTrace, withContext } from '../../../src/worker/job-trace.ts'
import { countingIds } from './fakes.ts'

const TRACE = 'a'.repeat(32)
const PARENT = 'b'.repeat(16)
const SPAN = '1'.padStart(16, '0')

describe('the trace of a job', () => {
  it("is its producer's, with a span of its own below the producer's", () => {
    const data = { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'v=1' }
    expect(openJobTrace({ data }, countingIds())).toEqual({
      own: { traceId: TRACE, spanId: SPAN, flags: '01', traceState: 'v=1' },
      parentSpanId: PARENT,
    })
  })

  it("is taken from BullMQ's metadata as well", () => {
    const telemetry = JSON.stringify({ traceparent: `00-${TRACE}-${PARENT}-01` })
    expect(openJobTrace({ data: {}, telemetry }, countingIds())).toMatchObject({ parentSpanId: PARENT })
  })

  it('keeps of the flags whether it is sampled, and no other', () => {
    const flagsOf = (flags: string) =>
      openJobTrace({ data: { traceparent: `00-${TRACE}-${PARENT}-${flags}` } }, countingIds()).own.flags
    expect(['00', '01', 'fe', 'ff'].map(flagsOf)).toEqual(['00', '01', '00', '01'])
  })

  it('is a new one without a producer, or with a malformed context', () => {
    const fresh = { own: { traceId: '2'.padStart(32, '0'), spanId: SPAN, flags: '01' } }
    expect(openJobTrace({ data: {} }, countingIds())).toEqual(fresh)
    expect(openJobTrace({ data: { traceparent: '00-no-no-01', tracestate: 'a=b' } }, countingIds())).toEqual(fresh)
  })

  it('stands in the journal', () => {
    const trace = openJobTrace({ data: {} }, countingIds())
    expect(jobFields('7', trace)).toEqual({ COMFY_JOB_ID: '7', TRACE_ID: trace.own.traceId, SPAN_ID: SPAN })
  })

  it('is handed on within extra_data, beside what is there', () => {
    const trace = openJobTrace({ data: {} }, countingIds())
    const traceparent = `00-${'2'.padStart(32, '0')}-${SPAN}-01`
    expect(withContext(undefined, trace)).toEqual({ traceparent })
    const extra = { extra_pnginfo: { a: 1 }, traceparent: 'old', tracestate: 'old=1' }
    expect(withContext(extra, trace)).toEqual({ extra_pnginfo: { a: 1 }, traceparent })
  })
})
