import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { stepSpans } from '../../../src/emit/spans.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import { parseReport } from '../../../src/observe/parse-report.ts'
import type { ReportLine } from '../../../src/report.ts'
import { active, at, failed, foldAll, planned, TRACE_ID } from './build-machine.ts'

const NODES = 'comfy-install-nodes.service'
const textOf = (...lines: readonly unknown[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join('')

const failure = { code: 'CM1701', type: 'git_failed', message: 'gone', hint: 'Look.' } as const
const lines: readonly ReportLine[] = [
  { kind: 'begin', invocationId: 'a'.repeat(32) },
  {
    kind: 'child',
    name: 'node a',
    key: 'a',
    startUs: 1,
    endUs: 5,
    state: 'failed',
    attributes: { 'node.name': 'a', n: 1, yes: true },
    failure,
    attempts: [{ ...failure, atUs: 2, attempt: 1 }],
    children: [{ name: 'clone', startUs: 1, endUs: 2, state: 'done', attributes: {} }],
  },
  { kind: 'step', step: 15, startUs: 1, endUs: 2, attributes: {} },
  { kind: 'fact', attributes: { 'nodes.installed': 4 } },
  { kind: 'shortfall', component: 'custom node a', failure },
  { kind: 'failure', ...failure, atUs: 3, attempt: 2 },
]

describe('parseReport', () => {
  test('gives back what a process reported', () => {
    expect(parseReport(textOf(...lines))).toEqual(lines)
  })

  test('leaves out a last line that is not whole', () => {
    const line = textOf(lines[0])
    expect(parseReport(`${line}${line.slice(0, 9)}`)).toEqual([lines[0]])
    expect(parseReport('')).toEqual([])
  })

  test('leaves out what is no report', () => {
    const bad = [
      null,
      1,
      [],
      {},
      { kind: 'child', name: 'x' },
      { kind: 'child', name: 'x', startUs: '1', endUs: 2, state: 'done' },
      { kind: 'child', name: 'x', startUs: 1, endUs: 2, state: 'good' },
      { kind: 'failure', code: 'CM1701' },
      { kind: 'step', step: 15 },
      { kind: 'shortfall', component: 'custom node a' },
      { kind: 'shortfall', failure },
      { kind: 'begin' },
    ]
    expect(parseReport(`not json\n${textOf(...bad)}${textOf(lines[3])}`)).toEqual([lines[3]])
  })

  test('takes of attributes what OpenTelemetry knows, and bounds it', () => {
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`a${index}`, index]))
    const [fact] = parseReport(
      textOf({ kind: 'fact', attributes: { ok: 'x'.repeat(9e4), bad: { a: 1 }, no: null, ...many } }),
    )
    if (fact?.kind !== 'fact') throw new Error('there is no fact')
    expect(Object.keys(fact.attributes)).toHaveLength(62)
    expect(String(fact.attributes['ok'])).toHaveLength(8_000)
    expect(fact.attributes).not.toHaveProperty('bad')
  })

  test('goes no deeper than a trace is readable', () => {
    const nest = (depth: number): object => ({
      ...{ name: `d${depth}`, startUs: 1, endUs: 2, state: 'done', attributes: {} },
      children: depth === 0 ? [] : [nest(depth - 1)],
    })
    const [child] = parseReport(textOf({ kind: 'child', ...nest(9) }))
    expect(JSON.stringify(child).match(/"name"/g)).toHaveLength(4)
  })

  test('whatever stands there, the step ends with its spans', () => {
    const anything = fc.oneof(
      fc.json(),
      fc
        .record({ kind: fc.constantFrom('child', 'step', 'fact', 'failure', 'begin'), attributes: fc.anything() })
        .map((value) => JSON.stringify({ ...value, name: 'x', startUs: 1, endUs: 2, state: 'done' })),
    )
    fc.assert(
      fc.property(fc.array(anything), fc.boolean(), (texts, isGood) => {
        const report = parseReport(texts.map((text) => `${text}\n`).join(''))
        const unit = isGood ? active(NODES, 1, 2) : failed(NODES, 1, 2)
        const { machine, happenings } = foldAll(planned(), [(current) => foldUnit(current, unit, report)])
        const ended = happenings.filter((each) => each.kind === 'step-ended')
        const spans = ended.flatMap((each) => stepSpans(machine, each, { traceId: TRACE_ID, resource: {} }))
        expect(spans[0]).toMatchObject({ name: 'machine.custom_nodes.install', startUs: at(1), endUs: at(2) })
        expect(spans[0]?.attributes['machine_id']).toBe('m1')
      }),
    )
  })
})
