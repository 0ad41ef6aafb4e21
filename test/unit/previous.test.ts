import { describe, expect, test } from 'vitest'
import { startupSpan } from '../../src/emit/root-spans.ts'
import { readStartupRecord, type StartupRecord, writeStartupRecord } from '../../src/emit/startup-record.ts'
import type { SpanRecord } from '../../src/host/ports.ts'
import { followPrevious, keepPhase } from '../../src/previous.ts'
import { rootSpanId } from '../../src/trace-context.ts'
import { memoryFiles } from './emit/memory-files.ts'
import { memoryRecorder } from './emit/memory-recorder.ts'
import { at, TRACE_ID } from './observe/build-machine.ts'

const OTHER = 'b'.repeat(32)
const TELEMETRY = '/var/lib/comfy-machine/telemetry'
const previous: StartupRecord = {
  schema: 1,
  traceId: OTHER,
  bootId: 'b0',
  startedUs: at(-100),
  isFirst: true,
  phase: 'starting',
}
const step = (name: string, fromS: number, toS: number): SpanRecord => ({
  traceId: OTHER,
  spanId: name.padEnd(16, '0'),
  parentSpanId: rootSpanId(OTHER),
  name,
  startUs: at(fromS),
  endUs: at(toS),
  attributes: { machine_id: 'm1', step_number: 3 },
  events: [],
  links: [],
  resource: {},
})

async function follow(record: StartupRecord | undefined, spans: readonly SpanRecord[] = []) {
  const text = spans.map((span) => `${JSON.stringify(span)}\n`).join('')
  const files = memoryFiles({ [`${TELEMETRY}/controller/00000001.ndjson`]: text })
  const { recorder, outbox, spans: told } = memoryRecorder()
  recorder.keepSpans(outbox)
  await followPrevious(files, recorder, record)
  await recorder.flush()
  const root = startupSpan(recorder.machine, at(9), { traceId: TRACE_ID, resource: {} })
  return { told, links: root.links }
}

describe('a startup', () => {
  test('follows nothing that was stopped, and nothing when it is the first', async () => {
    expect(await follow(undefined)).toEqual({ told: [], links: [] })
    expect(await follow({ ...previous, phase: 'stopped' })).toEqual({ told: [], links: [] })
  })

  test.each<[StartupRecord['phase'], string, string]>([
    ['failed', 'b0', 'restart after a failed start'],
    ['ready', 'b0', 'restart after the host went down'],
    ['degraded', 'b1', 'restart after the controller ended'],
  ])('links to one that was %s in boot %s', async (phase, bootId, reason) => {
    const { links, told } = await follow({ ...previous, phase, bootId })
    expect(links).toEqual([{ traceId: OTHER, spanId: rootSpanId(OTHER), attributes: { 'link.reason': reason } }])
    expect(told).toEqual([])
  })

  test('ends the trace of one that nobody ended', async () => {
    const { told, links } = await follow(previous, [step('a', -99, -90), step('b', -95, -80)])
    expect(links).toHaveLength(1)
    expect(told).toMatchObject([
      {
        traceId: OTHER,
        spanId: rootSpanId(OTHER),
        name: 'machine.startup',
        startUs: at(-100),
        endUs: at(-80),
        attributes: { machine_id: 'm1', step_number: 0 },
        events: [{ name: 'a' }, { name: 'b' }],
        resource: { 'service.name': 'comfy-machine' },
      },
    ])
    expect(told[0]?.error).toContain('interrupted')
  })

  test('leaves a trace alone that has its root', async () => {
    const { parentSpanId: _, ...root } = { ...step('machine.startup', -100, -80), spanId: rootSpanId(OTHER) }
    expect((await follow(previous, [root])).told).toEqual([])
  })
})

test('the record of a startup is read back, and one that is no record is none', async () => {
  const files = memoryFiles()
  const { recorder } = memoryRecorder()
  await keepPhase(files, recorder, true)
  const read = await readStartupRecord(files, TELEMETRY)
  expect(read).toEqual({
    schema: 1,
    traceId: TRACE_ID,
    bootId: 'b1',
    startedUs: at(0),
    isFirst: true,
    phase: 'starting',
  })
  await writeStartupRecord(files, TELEMETRY, { ...previous, traceId: '' })
  expect(await readStartupRecord(files, TELEMETRY)).toBeUndefined()
  files.texts.set(`${TELEMETRY}/startup.json`, '{')
  expect(await readStartupRecord(files, TELEMETRY)).toBeUndefined()
})
