import { expect, test } from 'vitest'
import type { MachineConfig } from '../../src/config/load-config.ts'
import { readSpans } from '../../src/emit/segments.ts'
import { readStartupRecord, type StartupRecord } from '../../src/emit/startup-record.ts'
import type { Manager } from '../../src/host/ports.ts'
import type { MachineHost } from '../../src/machine-host.ts'
import { TELEMETRY_DIRECTORY } from '../../src/plan/plan.ts'
import { keepTrace, startDelivery } from '../../src/trace.ts'
import { rootSpanId } from '../../src/trace-context.ts'
import { memoryFiles } from './emit/memory-files.ts'
import { memoryRecorder } from './emit/memory-recorder.ts'
import { at, TRACE_ID } from './observe/build-machine.ts'

const OTHER = 'e'.repeat(32)
const previous: StartupRecord = {
  schema: 1,
  traceId: OTHER,
  bootId: 'b1',
  startedUs: at(-100),
  isFirst: true,
  phase: 'starting',
}

async function keep(beginning: { readonly isResumed: boolean; readonly isBegun: boolean }) {
  const files = memoryFiles()
  const { recorder } = memoryRecorder()
  await keepTrace({ files } as unknown as MachineHost, recorder, { ...beginning, previous }, false)
  await recorder.flush()
  const spans = await readSpans(files, TELEMETRY_DIRECTORY)
  return { spans, recorder, record: await readStartupRecord(files, TELEMETRY_DIRECTORY) }
}

test.each([
  { isResumed: false, isBegun: false },
  { isResumed: true, isBegun: false },
])('keepTrace begins a trace that nobody has begun: %o', async (beginning) => {
  const { spans, recorder, record } = await keep(beginning)
  expect(recorder.machine.state.follows?.traceId).toBe(OTHER)
  expect(spans).toMatchObject([{ traceId: OTHER, spanId: rootSpanId(OTHER) }])
  expect(record).toMatchObject({ traceId: TRACE_ID, isFirst: false })
})

test('keepTrace goes on with a trace that was begun', async () => {
  const { spans, recorder, record } = await keep({ isResumed: true, isBegun: true })
  expect(recorder.machine.state.follows).toBeUndefined()
  expect(spans).toEqual([])
  expect(record).toBeUndefined()
})

test('startDelivery ends the delivery that has the settings of the start before', async () => {
  const calls: string[] = []
  const manager = {
    stopAndWait: async (unit: string) => void calls.push(`stop ${unit}`),
    start: async (unit: string) => void calls.push(`start ${unit}`),
  }
  const configOf = (environment: object) => ({ environment, secrets: new Map() }) as unknown as MachineConfig
  const start = (environment: object) =>
    startDelivery(memoryRecorder().recorder, configOf(environment), manager as unknown as Manager)
  await start({})
  expect(calls).toEqual([])
  await start({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4317' })
  expect(calls).toEqual(['stop comfy-telemetry.service', 'start comfy-telemetry.path'])
})

test('what was left unfinished by a process that is gone is removed, that of a living one is not', async () => {
  const name = (pid: number): string => `${TELEMETRY_DIRECTORY}/delivered/.controller.json.${pid}.1.tmp`
  const files = memoryFiles({ [name(7)]: 'x', [name(8)]: 'y', '/proc/8': '' })
  const { recorder } = memoryRecorder()
  const host = { files } as unknown as MachineHost
  await keepTrace(host, recorder, { isResumed: false, isBegun: false, previous: undefined }, true)
  expect([files.texts.has(name(7)), files.texts.has(name(8))]).toEqual([false, true])
})
