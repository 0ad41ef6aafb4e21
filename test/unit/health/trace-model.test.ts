import { describe, expect, test } from 'vitest'
import {
  buildTree,
  findStartups,
  matchStartups,
  missingSteps,
  outcomeOf,
  type Trace,
  type TraceNode,
} from '../../../src/health/trace-model.ts'
import { failingCode } from '../../../src/health/trace-rows.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { STARTUP_SPAN } from '../../../src/steps.ts'
import {
  BEGUN_US,
  buildFailedStartup,
  buildIncident,
  buildPart,
  buildRoot,
  buildSpan,
  buildStartup,
  buildStepSpan,
} from './build-trace.ts'

function only(records: readonly SpanRecord[]): Trace {
  const [found, ...others] = findStartups(records)
  if (found === undefined || others.length > 0) throw new Error('not one startup')
  return found
}

const names = ({ span, children }: TraceNode): unknown => [span.spanId, ...children.map(names)]
const withoutRoot = buildStartup(2).filter(({ name }) => name !== STARTUP_SPAN)

describe('findStartups', () => {
  test('finds the newest first and takes the later of two records of one span', () => {
    const later = buildRoot(100_000, 110_000, { traceId: 'b'.repeat(32) })
    const again = buildRoot(0, 70_000)
    const found = findStartups([...buildStartup(1), later, again])
    expect(found.map(({ root }) => root)).toEqual([later, again])
    expect(found.map(({ spans }) => spans.length)).toEqual([0, buildStartup(1).length - 1])
  })

  test('makes a root for a startup that has none yet', () => {
    const trace = only(withoutRoot.filter(({ attributes }) => Number(attributes['step_number']) < 18))
    expect(trace.isFinished).toBe(false)
    expect(outcomeOf(trace)).toBe('unfinished')
    expect(missingSteps(trace)).toEqual([18, 19, 20, 21])
    expect(trace.root).toMatchObject({
      spanId: 'root',
      name: STARTUP_SPAN,
      startUs: BEGUN_US,
      endUs: BEGUN_US + 21_000_000,
      attributes: { machine_id: 'machine-1', step_number: 0 },
    })
    expect(trace.root).not.toHaveProperty('error')
  })

  test('says of an unfinished startup what failed in it', () => {
    const trace = only(buildFailedStartup().filter(({ name }) => name !== STARTUP_SPAN))
    expect([outcomeOf(trace), failingCode(trace)]).toEqual(['unfinished', 'CM1804'])
  })

  test('takes no job and no incident for a startup', () => {
    const traceId = 'c'.repeat(32)
    expect(findStartups([buildSpan('process comfyui', 0, 1, { traceId }), buildIncident(9)])).toEqual([])
  })

  test('tells how a startup ended', () => {
    const stopped = { error: 'the startup ended stopped', attributes: { phase: 'stopped' } }
    expect(outcomeOf(only(buildStartup(1)))).toBe('ready')
    expect(outcomeOf(only(buildFailedStartup()))).toBe('failed')
    expect(outcomeOf(only([buildRoot(0, 1, stopped)]))).toBe('stopped')
  })

  test('gives a startup the incidents that are linked to it, in the order of time', () => {
    const second = buildIncident(95_000, { traceId: 'beef'.repeat(8) })
    const foreign = buildIncident(90_000, { traceId: 'dead'.repeat(8), links: [] })
    const { incidents } = only([second, foreign, buildIncident(90_000), ...buildStartup(1)])
    expect(incidents.map(({ traceId }) => traceId.slice(0, 4))).toEqual(['feed', 'beef'])
  })
})

describe('matchStartups', () => {
  const other = buildRoot(100_000, 110_000, { traceId: `0af8${'b'.repeat(28)}` })
  const startups = findStartups([...buildStartup(1), other, buildIncident(90_000)])
  const find = (prefix: string) => matchStartups(startups, prefix).map(({ root }) => root.traceId.slice(0, 4))

  test('takes the begin of a trace id in any case, also of an incident', () => {
    expect(find('0AF7')).toEqual(['0af7'])
    expect(find('0af')).toEqual(['0af8', '0af7'])
    expect(find('feed')).toEqual(['0af7'])
    expect(find('af76')).toEqual([])
  })
})

describe('buildTree', () => {
  test('nests to any depth, in the order of begin', () => {
    const deep = [
      buildStepSpan(17, 0, 100),
      buildPart(17, 'node a', 10, 90),
      buildSpan('fetch', 40, 50, { parentSpanId: 'clone' }),
      buildSpan('clone', 30, 60, { parentSpanId: 's17/node a' }),
      buildSpan('resolve', 20, 30, { parentSpanId: 's17/node a' }),
      buildRoot(0, 100),
    ]
    expect(names(buildTree(only(deep)))).toEqual(['root', ['s17', ['s17/node a', ['resolve'], ['clone', ['fetch']]]]])
  })

  test('hangs a part without its parent on its step, and on the root before its step is on record', () => {
    const lost = { parentSpanId: 'not on record' }
    const spans = [buildStepSpan(17, 0, 100), buildPart(17, 'clone', 1, 2, lost), buildPart(18, 'model', 3, 4, lost)]
    expect(names(buildTree(only([...spans, buildRoot(0, 100)])))).toEqual([
      'root',
      ['s17', ['s17/clone']],
      ['s18/model'],
    ])
  })

  test('leaves out jobs with all their parts, and what belongs nowhere', () => {
    const jobs = [
      buildSpan('process comfyui', 10, 20),
      buildSpan('node KSampler', 12, 18, { parentSpanId: 'process comfyui' }),
      buildSpan('process flux', 10, 20, { parentSpanId: 's20' }),
      buildSpan('upload', 10, 20, { parentSpanId: 'unknown' }),
    ]
    expect(names(buildTree(only([buildStepSpan(20, 0, 5), ...jobs, buildRoot(0, 100)])))).toEqual(['root', ['s20']])
  })
})
