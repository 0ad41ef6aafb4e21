import { describe, expect, it } from 'vitest'
import { contextOfJob, isSampled, parseContext, toCarrier } from '../../../src/worker/carrier.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const PARENT = `00-${TRACE}-${SPAN}-01`

describe('parseContext', () => {
  it('reads a traceparent of version 0, and of a later version that goes on', () => {
    expect(parseContext(PARENT)).toEqual({ traceId: TRACE, spanId: SPAN, flags: '01' })
    expect(parseContext(`cc-${TRACE}-${SPAN}-00`)).toMatchObject({ flags: '00' })
    expect(parseContext(`cc-${TRACE}-${SPAN}-01-what-the-future-will-be-like`)).toMatchObject({ traceId: TRACE })
  })

  it.each([
    ['of another kind', 42],
    ['empty', ''],
    ['of version ff', `ff-${TRACE}-${SPAN}-01`],
    ['of version 0 that goes on', `${PARENT}-more`],
    ['of a later version that goes on without a hyphen', `cc-${TRACE}-${SPAN}-01.more`],
    ['with capitals', PARENT.toUpperCase()],
    ['with a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
    ['with a parent id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
    ['with a short trace id', `00-${TRACE.slice(1)}-${SPAN}-01`],
    ['with flags that are no hex', `00-${TRACE}-${SPAN}-0x`],
    ['with a newline behind it', `${PARENT}\n`],
  ])('ignores a traceparent %s', (_what, traceparent) => {
    expect(parseContext(traceparent, 'a=b')).toBeUndefined()
  })

  it('hands on a tracestate that is well formed, and drops a malformed one as a whole', () => {
    const stateOf = (tracestate: unknown) => parseContext(PARENT, tracestate)?.traceState
    expect(stateOf('rojo=00f067aa0ba902b7, congo=t61rcWkgMzE ,,fw529a3039@dt=FfI')).toBe(
      'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,fw529a3039@dt=FfI',
    )
    const many = Array.from({ length: 33 }, (_none, index) => `k${index}=v`)
    expect(stateOf(many.slice(1).join(','))).toBeDefined()
    for (const bad of ['', 'Key=v', 'a', 'a=', 'a=b=c', 'a=1,a=2', 'a=\u00e9', many.join(','), 7])
      expect(stateOf(bad), String(bad)).toBeUndefined()
    expect(parseContext(PARENT, 'Key=v')).toMatchObject({ traceId: TRACE })
  })
})

describe('contextOfJob', () => {
  const metadata = JSON.stringify({ traceparent: `00-${'a'.repeat(32)}-${SPAN}-01`, tracestate: 'a=b' })

  it("prefers the job's data to BullMQ's metadata, and takes that where the data has none that is valid", () => {
    expect(contextOfJob({ traceparent: PARENT, tracestate: 'c=d' }, metadata)).toMatchObject({
      traceId: TRACE,
      traceState: 'c=d',
    })
    for (const data of [{}, { traceparent: 'nonsense' }, undefined, null, 'text'])
      expect(contextOfJob(data, metadata)).toMatchObject({ traceId: 'a'.repeat(32), traceState: 'a=b' })
  })

  it('is undefined without either, or with metadata that is no carrier', () => {
    for (const other of [undefined, '', 'no json', '"text"', 'null', '{}'])
      expect(contextOfJob({}, other)).toBeUndefined()
  })
})

describe('toCarrier', () => {
  it('says what parseContext reads', () => {
    const context = { traceId: TRACE, spanId: SPAN, flags: '01', traceState: 'a=b' }
    const carrier = toCarrier(context)
    expect(carrier).toEqual({ traceparent: PARENT, tracestate: 'a=b' })
    expect(parseContext(carrier['traceparent'], carrier['tracestate'])).toEqual(context)
    expect(toCarrier({ traceId: TRACE, spanId: SPAN, flags: '00' })).toEqual({
      traceparent: `00-${TRACE}-${SPAN}-00`,
    })
  })
})

describe('isSampled', () => {
  it('looks at bit 0 only', () => {
    expect(['00', '01', '02', 'ff'].map((flags) => isSampled({ traceId: TRACE, spanId: SPAN, flags }))).toEqual([
      false,
      true,
      false,
      true,
    ])
  })
})
