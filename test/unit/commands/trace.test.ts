import { describe, expect, it } from 'vitest'
import { type TraceOptions, trace } from '../../../src/commands/trace.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { STARTUP_SPAN } from '../../../src/steps.ts'
import { buildFailedStartup, buildIncident, buildRoot, buildStartup, TRACE_ID } from '../health/build-trace.ts'
import { readXml } from '../health/read-xml.ts'
import { filesOf, keepingTerminal } from './ports.ts'

const DIRECTORY = '/var/lib/comfy-machine/telemetry'
const LATER = `0af8${'b'.repeat(28)}`
const lines = (records: readonly SpanRecord[]): string =>
  records.map((record) => `${JSON.stringify(record)}\n`).join('')
const recorded = (records: readonly SpanRecord[]) => ({ [`${DIRECTORY}/controller/00000002.ndjson`]: lines(records) })
const two = recorded([...buildFailedStartup(), buildIncident(90_000), buildRoot(100_000, 110_000, { traceId: LATER })])

async function run(options: TraceOptions, texts: Readonly<Record<string, string>>) {
  const terminal = keepingTerminal()
  const code = await trace(options, { files: filesOf(texts), terminal })
  return { code, out: terminal.out.join('') }
}

describe('trace', () => {
  it('draws the newest startup from delivered and waiting records', async () => {
    const { out, code } = await run(
      {},
      {
        [`${DIRECTORY}/controller/00000001.ndjson`]: lines(buildStartup(2).slice(0, 30)),
        [`${DIRECTORY}/controller/00000002.ndjson`]: lines(buildStartup(2).slice(20)),
      },
    )
    expect(code).toBe(0)
    expect(out).toContain(`trace ${TRACE_ID}`)
    expect(out.match(/18 Models Installation/g)).toHaveLength(1)
    expect(out).toMatch(/21 Machine Ready +\+58\.1 s +99 ms \* +█+\n/)
  })

  it('finds an earlier startup by number and by the begin of its id, and ends with 1 for one that failed', async () => {
    expect(await run({ last: 1 }, two)).toMatchObject({ code: 0, out: expect.stringContaining(`trace ${LATER}`) })
    for (const options of [{ last: 2 }, { traceId: '0af7' }, { traceId: TRACE_ID }, { traceId: 'FEED' }])
      expect(await run(options, two)).toMatchObject({ code: 1, out: expect.stringContaining(`trace ${TRACE_ID}`) })
  })

  it('says when there is no such startup', async () => {
    await expect(run({}, {})).rejects.toMatchObject({ code: 'CM0003', message: expect.stringContaining(DIRECTORY) })
    await expect(run({ list: true }, {})).rejects.toMatchObject({ code: 'CM0003' })
    await expect(run({ last: 3 }, two)).rejects.toMatchObject({ code: 'CM0003', message: 'only 2 are recorded' })
    await expect(run({ traceId: 'dead' }, two)).rejects.toMatchObject({
      code: 'CM0003',
      hint: expect.stringContaining('trace --list'),
    })
  })

  it('refuses what cannot be meant', async () => {
    const wrong: readonly TraceOptions[] = [
      { traceId: '0af' },
      { traceId: 'nothex' },
      { traceId: TRACE_ID, last: 1 },
      { list: true, last: 1 },
      { list: true, svg: true },
      { json: true, svg: true },
    ]
    for (const options of wrong) await expect(run(options, two)).rejects.toMatchObject({ code: 'CM0002' })
    const twins = [
      buildRoot(0, 1, { traceId: `abcd1${'0'.repeat(27)}` }),
      buildRoot(0, 1, { traceId: `abcd2${'0'.repeat(27)}` }),
    ]
    await expect(run({ traceId: 'abcd' }, recorded(twins))).rejects.toMatchObject({
      code: 'CM0002',
      message: 'abcd fits 2 startups: give more digits',
    })
  })

  it('draws a startup that still runs, and ends with 1 once a step of it has failed', async () => {
    const unfinished = (records: readonly SpanRecord[]) => recorded(records.filter(({ name }) => name !== STARTUP_SPAN))
    expect(await run({}, unfinished(buildStartup(1)))).toMatchObject({
      code: 0,
      out: expect.stringContaining('unfinished'),
    })
    expect((await run({}, unfinished(buildFailedStartup()))).code).toBe(1)
  })

  it('lists the startups on record', async () => {
    const { out, code } = await run({ list: true }, two)
    expect(code).toBe(0)
    expect(out.split('\n').map((line) => line.trim().split(/ {2,}/).at(-1))).toEqual(['ready', 'CM1804', ''])
    expect(JSON.parse((await run({ list: true, json: true }, two)).out)).toMatchObject([
      { trace_id: LATER, outcome: 'ready', failing_code: null },
      { trace_id: TRACE_ID, outcome: 'failed', failing_code: 'CM1804' },
    ])
  })

  it('prints JSON and SVG', async () => {
    const { out, code } = await run({ json: true, last: 2 }, two)
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({ trace_id: TRACE_ID, incidents: [{ code: 'CM1990' }] })
    expect(readXml((await run({ svg: true }, two)).out).name).toBe('svg')
  })
})
