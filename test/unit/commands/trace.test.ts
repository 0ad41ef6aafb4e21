import { describe, expect, it } from 'vitest'
import { trace } from '../../../src/commands/trace.ts'
import { criticalPath, findStartups } from '../../../src/health/waterfall.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { filesOf, keepingTerminal } from './ports.ts'

const span = (name: string, startMs: number, endMs: number, changes: Partial<SpanRecord> = {}): SpanRecord => ({
  traceId: 'a'.repeat(32),
  spanId: name,
  parentSpanId: 'root',
  name,
  startUs: startMs * 1000,
  endUs: endMs * 1000,
  attributes: {},
  events: [],
  links: [],
  resource: {},
  ...changes,
})
const root = (traceId: string, startMs: number): SpanRecord => {
  const { parentSpanId: _, ...rest } = span('machine.startup', startMs, startMs + 1_000, { traceId, spanId: 'root' })
  return rest
}
const A = 'a'.repeat(32)
const spans = [
  root(A, 0),
  span('nodes', 100, 400, { attributes: { step_number: 17 } }),
  span('node manager', 150, 300, { parentSpanId: 'nodes' }),
  span('models', 100, 900, { attributes: { step_number: 18 }, error: 'sha256' }),
  span('discover', 0, 100, { attributes: { step_number: 16 } }),
  span('ready', 900, 1_000, { attributes: { step_number: 21 } }),
  span('enclosing', 0, 1_000, { attributes: { step_number: 6 } }),
]
const lines = (records: readonly SpanRecord[]): string =>
  records.map((record) => `${JSON.stringify(record)}\n`).join('')
const DIRECTORY = '/var/lib/comfy-machine/telemetry'

async function run(last: number | undefined, texts: Readonly<Record<string, string>>) {
  const terminal = keepingTerminal()
  const code = await trace(last === undefined ? {} : { last }, { files: filesOf(texts), terminal })
  return { code, out: terminal.out.join('') }
}

describe('trace', () => {
  it('draws the tree of the newest startup from delivered and waiting records', async () => {
    const { out, code } = await run(undefined, {
      [`${DIRECTORY}/controller/00000001.ndjson`]: lines(spans.slice(0, 4)),
      [`${DIRECTORY}/controller/00000002.ndjson`]: lines(spans.slice(3)),
    })
    const rows = out.split('\n')
    expect(code).toBe(0)
    expect(rows[0]).toContain(A)
    expect(rows.findIndex((row) => row.includes('node manager'))).toBe(
      rows.findIndex((row) => row.includes('17 nodes')) + 1,
    )
    expect(rows.filter((row) => row.includes('models'))).toHaveLength(1)
    expect(rows.find((row) => row.includes('18 models'))).toMatch(/\+100 ms +800 ms ! +█+$/)
    expect(rows.find((row) => row.includes('21 ready'))).toMatch(/\+900 ms +100 ms \* +█+$/)
  })

  it('finds an earlier startup and says when there is none', async () => {
    const text = lines([...spans, root('b'.repeat(32), 5_000)])
    const files = { [`${DIRECTORY}/controller/00000001.ndjson`]: text }
    expect((await run(1, files)).out).toContain('trace bbbb')
    expect((await run(2, files)).out).toContain('trace aaaa')
    await expect(run(3, files)).rejects.toMatchObject({ code: 'CM0003' })
    await expect(run(1, {})).rejects.toMatchObject({ code: 'CM0003' })
  })
})

describe('criticalPath', () => {
  it('is the chain of steps that waited for each other, without the ones that enclose', () => {
    const [startup] = findStartups(spans)
    expect(startup && [...criticalPath(startup)]).toEqual(['ready', 'models', 'discover'])
  })
})
