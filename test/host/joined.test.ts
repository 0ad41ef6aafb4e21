import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { STEPS } from '../../src/steps.ts'
import { rootSpanId } from '../../src/trace-context.ts'
import { readRequests } from '../fixtures/scenario.ts'
import type { ReceivedSpan } from '../fixtures/spans.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  invocationOf,
  type JournalLine,
  readJournal,
  show,
  start,
  startToReady,
  stop,
  WANTED_UNITS,
  waitForTrace,
} from './machine.ts'

// One machine starts well, then fails; what each tells in trace and journal is joined.
describe('a trace and the journal of one start', () => {
  let host: Host
  let trace: string
  let spans: readonly ReceivedSpan[]
  let lines: readonly JournalLine[]

  beforeAll(async () => {
    host = await bootMachine('joined')
    await startToReady(host)
    trace = await invocationOf(host)
    spans = await waitForTrace(host, trace)
    lines = await readJournal(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('join every step both ways, without a look-up', () => {
    const told = lines.filter((line) => line['TRACE_ID'] === trace && line['COMFY_STATE'] === 'done')
    const ends = told.filter((line) => line['_SYSTEMD_UNIT'] === 'comfy-machine.service')
    for (const { number, event, phase } of STEPS) {
      const [line, ...others] = ends.filter((each) => each['COMFY_STEP'] === String(number) && !each['COMFY_GPU'])
      expect(others, `step ${number}`).toEqual([])
      const span = spans.find(({ spanId }) => spanId === line?.['SPAN_ID'])
      expect(span?.attributes['step_number'], `step ${number}`).toBe(number)
      expect(span?.name).toBe(event)
      expect(line).toMatchObject({
        COMFY_EVENT: event,
        COMFY_PHASE: phase,
        COMFY_TRACE_ID: trace,
        COMFY_MACHINE_ID: 'test-machine',
      })
      const us = (span?.endUs ?? 0) - (span?.startUs ?? 0)
      expect(line?.['COMFY_DURATION_MS']).toBe(String(Math.round(us / 1000)))
    }
    for (const span of spans.filter(({ parentSpanId }) => parentSpanId === rootSpanId(trace)))
      expect(
        ends.filter((line) => line['SPAN_ID'] === span.spanId),
        span.name,
      ).toHaveLength(1)
  })

  test('join every GPU of a step both ways', () => {
    const perGpu = spans.filter(
      ({ attributes, name }) => attributes['gpu.index'] !== undefined && / gpu\d+$/.test(name),
    )
    expect(perGpu).toHaveLength(6)
    for (const { spanId, attributes } of perGpu) {
      const found = lines.filter((line) => line['SPAN_ID'] === spanId && line['COMFY_STATE'] === 'done')
      expect(found).toMatchObject([
        { COMFY_GPU: `gpu${attributes['gpu.index']}`, COMFY_UNIT: attributes['systemd.unit'] },
      ])
    }
  })

  test('name no span that the other does not have', () => {
    const known = new Set(spans.map(({ spanId }) => spanId))
    const named = lines.filter((line) => line['TRACE_ID'] === trace && line['SPAN_ID'] !== undefined)
    expect(named.length).toBeGreaterThan(40)
    expect(named.filter((line) => !known.has(line['SPAN_ID'] ?? '')).map((line) => line['MESSAGE'])).toEqual([])
  })

  test('lead from the span of a unit to all its lines, and back', () => {
    const units = spans.filter(({ attributes }) => attributes['systemd.invocation_id'] !== undefined)
    expect(units.length).toBeGreaterThanOrEqual(10)
    for (const { attributes, spanId, name } of units) {
      const id = String(attributes['systemd.invocation_id'])
      // Step 15 is a piece of what the unit of step 16 does.
      if (attributes['step_number'] !== 15) expect(id.slice(0, 16), name).toBe(spanId)
      const own = lines.filter((line) => line['_SYSTEMD_INVOCATION_ID'] === id)
      expect(own.length, String(attributes['systemd.unit'])).toBeGreaterThan(0)
      expect(new Set(own.map((line) => line['_SYSTEMD_UNIT']))).toEqual(new Set([attributes['systemd.unit']]))
    }
  })

  test('every line of every process carries the machine and the trace', () => {
    const ours = [...WANTED_UNITS, 'comfy-machine.service', 'comfy-telemetry.service']
    const own = lines.filter((line) => ours.some((unit) => unit === line['_SYSTEMD_UNIT']))
    expect(new Set(own.map((line) => line['_SYSTEMD_UNIT']))).toEqual(new Set(ours))
    const bare = own.filter((line) => line['COMFY_MACHINE_ID'] !== 'test-machine' || line['COMFY_TRACE_ID'] !== trace)
    expect(bare.map((line) => `${line['_SYSTEMD_UNIT']}: ${line['MESSAGE']}`)).toEqual([])
  })

  test('the trace is handed to every process of the machine, to scripts and to the API', async () => {
    const root = `00-${trace}-${rootSpanId(trace)}-01`
    for (const unit of ['comfyui@gpu0', 'comfyui@gpu1', 'redis-worker@gpu0']) {
      const { MainPID = '' } = await show(host, `${unit}.service`, 'MainPID')
      const environment = (await host.must(['cat', `/proc/${MainPID}/environ`])).split('\0')
      expect(environment, unit).toContain(`TRACEPARENT=${root}`)
    }
    const call = spans.find(({ name }) => name === 'GET /custom-nodes/defaults')
    const asked = (await readRequests(host, 'api')).filter(({ path }) => path === '/custom-nodes/defaults')
    expect(asked.at(-1)?.headers['traceparent']).toBe(`00-${trace}-${call?.spanId}-01`)
  })

  test('a failure says in both how the unit ended, with its last lines and what to do next', async () => {
    await stop(host)
    const unit = 'comfyui@gpu1.service'
    const dropIn = '/etc/systemd/system/comfyui@gpu1.service.d/break.conf'
    await host.write(dropIn, "[Service]\nExecStart=\nExecStart=/bin/sh -c 'echo the dog ate it; exit 3'\n")
    expect((await start(host)).code).not.toBe(0)
    const failed = await invocationOf(host)
    const whole = await waitForTrace(host, failed)
    const step = whole.find(({ name }) => name === 'machine.comfyui.server.start')
    expect(step?.status.code).toBe('error')
    const events = (step?.events ?? []).filter(({ attributes }) => attributes['unit'] === unit)
    expect(events.map(({ attributes }) => attributes['retry_attempt'])).toEqual(events.map((_, index) => index + 1))
    expect(events.length).toBeGreaterThan(1)
    for (const { attributes } of events)
      expect(attributes).toMatchObject({
        error_code: 'CM1990',
        error_type: 'process_exit',
        'systemd.result': 'exit-code',
        'process.exit.code': 3,
        'journal.lines': expect.stringContaining('the dog ate it') as string,
      })
    expect(events.at(-1)?.attributes['given_up']).toBe(true)
    const told = (await readJournal(host, `COMFY_TRACE_ID=${failed}`, 'COMFY_ERROR_CODE=CM1990')).filter(
      (line) => line['COMFY_UNIT'] === unit && line['_SYSTEMD_UNIT'] === 'comfy-machine.service',
    )
    expect(told.map((line) => line['COMFY_ATTEMPT'])).toEqual(events.map((_, index) => String(index + 1)))
    expect(told[0]).toMatchObject({ COMFY_GPU: 'gpu1', COMFY_RESULT: 'exit-code', COMFY_EXIT: '3', TRACE_ID: failed })
    const explained = await host.must('journalctl -b -x -p err -u comfy-machine --no-pager')
    expect(explained).toContain('What to do: Look at its last lines before the end.')
    expect(explained).toContain('comfy-machine explain CM1990')
    expect(await host.must('comfy-machine explain --last')).toContain('the dog ate it')
    const root = whole.find(({ parentSpanId }) => parentSpanId === '')
    expect(root?.links).toEqual([])
    await host.must(['rm', dropIn])
    await host.must('systemctl daemon-reload')
    await startToReady(host)
    const next = (await waitForTrace(host, await invocationOf(host))).find(({ parentSpanId }) => parentSpanId === '')
    expect(next?.links).toMatchObject([
      { traceId: failed, attributes: { 'link.reason': 'restart after a failed start' } },
    ])
  })
})
