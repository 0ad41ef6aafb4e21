import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { incidentSpan, recoverySpan, startupSpan } from '../../../src/emit/root-spans.ts'
import { stepSpanId, stepSpans } from '../../../src/emit/spans.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { foldJobNew } from '../../../src/observe/fold-job.ts'
import { endStep, enterPhase } from '../../../src/observe/fold-step.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import type { Happening, Machine } from '../../../src/observe/machine.ts'
import { rootSpanId, spanIdOf, spanIdOfInvocation, spanIdOfWork } from '../../../src/trace-context.ts'
import {
  active,
  at,
  failed,
  failingAt,
  foldAll,
  invocationOf,
  planned,
  reportOf,
  restarting,
  TRACE_ID,
} from '../observe/build-machine.ts'

const MODELS = 'comfy-install-models.service'
const context = { traceId: TRACE_ID, resource: { 'service.name': 'comfy-machine' } }

/** The spans of every step that the folds end. */
function spansOf(machine: Machine, happenings: readonly Happening[]): readonly SpanRecord[] {
  return happenings.flatMap((each) => (each.kind === 'step-ended' ? stepSpans(machine, each, context) : []))
}

describe('the span of a step', () => {
  test('has the id of its unit’s invocation, the times of systemd and the attributes of the machine', () => {
    const folded = foldAll(planned(), [(machine) => foldUnit(machine, active(MODELS, 1, 4), [])])
    const [span, ...others] = spansOf(folded.machine, folded.happenings)
    expect(others).toEqual([])
    expect(span).toEqual({
      traceId: TRACE_ID,
      spanId: invocationOf(MODELS).slice(0, 16),
      parentSpanId: rootSpanId(TRACE_ID),
      name: 'machine.models.install',
      startUs: at(1),
      endUs: at(4),
      attributes: {
        machine_id: 'm1',
        gpu_mode: 'mock',
        workers_config: 'comfyui:auto',
        step_number: 18,
        step_name: 'Models Installation',
        phase: 'component_installation',
        'step.state': 'done',
        'systemd.unit': MODELS,
        'systemd.invocation_id': invocationOf(MODELS),
        'systemd.result': 'success',
      },
      events: [],
      links: [],
      resource: { 'service.name': 'comfy-machine' },
    })
  })

  test('of the controller has an id from its number, and the older name of its event', () => {
    const end = { startUs: at(1), endUs: at(2), state: 'done' as const, attributes: { 'gpu.count': 2 } }
    const { machine, happenings } = endStep(planned(), 9, end)
    expect(spansOf(machine, happenings)).toMatchObject([
      {
        spanId: spanIdOf(TRACE_ID, 'step/9'),
        attributes: { step_number: 9, legacy_event: 'machine.pm2.hardware.detect', 'gpu.count': 2 },
      },
    ])
  })

  test('has a child for each piece of work', () => {
    const work = (name: string, seconds: number) =>
      ({
        kind: 'child',
        name,
        startUs: at(seconds),
        endUs: at(seconds + 1),
        state: 'done',
        attributes: { bytes: 7 },
      }) as const
    const broken = { ...work('model b', 2), state: 'failed', failure: failingAt() } as const
    const report = reportOf(invocationOf(MODELS), work('model a', 1), broken)
    const folded = foldAll(planned(), [(machine) => foldUnit(machine, active(MODELS, 1, 4), report)])
    const [own, a, b] = spansOf(folded.machine, folded.happenings)
    expect([a, b].map((span) => [span?.name, span?.parentSpanId, span?.startUs, span?.attributes['bytes']])).toEqual([
      ['model a', own?.spanId, at(1), 7],
      ['model b', own?.spanId, at(2), 7],
    ])
    expect(b?.error).toBe('CM1804: ae.safetensors: sha256 is 3f, expected 9a')
    expect(a).not.toHaveProperty('error')
  })

  test('has the pieces of a piece of work below it, with ids that its unit can compute', () => {
    const work = (name: string, changes: object = {}) =>
      ({ name, startUs: at(1), endUs: at(2), state: 'done', attributes: {}, ...changes }) as const
    const clone = work('clone', { attributes: { 'git.mirror': 'reused' } })
    const node = { kind: 'child', ...work('node a', { key: 'a/b', children: [clone, work('install')] }) } as const
    const other = { kind: 'child', ...work('node a', { children: [clone] }) } as const
    const report = reportOf(invocationOf(MODELS), node, other)
    const folded = foldAll(planned(), [(machine) => foldUnit(machine, active(MODELS, 1, 4), report)])
    const [own, ...spans] = spansOf(folded.machine, folded.happenings)
    const idOf = (...keys: readonly string[]): string => spanIdOfWork(invocationOf(MODELS), keys)
    expect(spans.map(({ name, spanId, parentSpanId }) => [name, spanId, parentSpanId])).toEqual([
      ['node a', idOf('a/b'), own?.spanId],
      ['clone', idOf('a/b', 'clone'), idOf('a/b')],
      ['install', idOf('a/b', 'install'), idOf('a/b')],
      ['node a', idOf('node a'), own?.spanId],
      ['clone', idOf('node a', 'clone'), idOf('node a')],
    ])
    expect(new Set(spans.map(({ spanId }) => spanId)).size).toBe(5)
    expect(spans[1]?.attributes).toMatchObject({ step_number: 18, 'git.mirror': 'reused', 'step.state': 'done' })
  })

  test('has an event on a piece of work for each attempt at it that failed', () => {
    const { code, type, message, hint } = failingAt()
    const attempts = [{ code, type, message, hint, atUs: at(1.5), attempt: 1 }]
    const model = { kind: 'child', name: 'm', startUs: at(1), endUs: at(2), state: 'done', attributes: {} } as const
    const report = reportOf(invocationOf(MODELS), { ...model, attempts })
    const folded = foldAll(planned(), [(machine) => foldUnit(machine, active(MODELS, 1, 4), report)])
    const [, span] = spansOf(folded.machine, folded.happenings)
    expect(span?.events).toMatchObject([
      {
        name: 'machine.step.failure',
        atUs: at(1.5),
        attributes: { step_number: 18, error_code: 'CM1804', retry_attempt: 1, duration_ms: 500, unit: MODELS },
      },
    ])
    expect(span).not.toHaveProperty('error')
  })

  test('has an event for each failed attempt, and an error only when the step ended failed', () => {
    const unit = 'comfyui@gpu0.service'
    const again = { execMainStartUs: at(3), invocationId: invocationOf(unit, 2) }
    const attempts = [restarting(unit, 1, 2), restarting(unit, 1, 4, again)]
    const folds = attempts.map((each) => (machine: Machine) => foldUnit(machine, each, []))
    const good = foldAll(planned(1), [...folds, (machine) => foldUnit(machine, active(unit, 1, 6), [])])
    const [step, instance] = spansOf(good.machine, good.happenings)
    expect(step?.events.map(({ name, atUs, attributes }) => [name, atUs, attributes['retry_attempt']])).toEqual([
      ['machine.step.failure', at(2), 1],
      ['machine.step.failure', at(4), 2],
    ])
    expect(step?.events[0]?.attributes).toEqual({
      step_number: 19,
      step_name: 'ComfyUI Server Start',
      error_type: 'process_exit',
      error_message: `${unit} exited with status 1`,
      error_code: 'CM1990',
      unit,
      hint: 'Look at its last lines before the end.',
      retry_attempt: 1,
      duration_ms: 1000,
      'process.exit.code': 1,
      'systemd.result': 'exit-code',
      'systemd.invocation_id': invocationOf(unit),
    })
    expect(step).not.toHaveProperty('error')
    expect(instance).not.toHaveProperty('error')
    const bad = foldAll(planned(1), [
      ...folds,
      (machine) => foldUnit(machine, failed(unit, 1, 6, { execMainExitUs: at(6) }), []),
    ])
    expect(spansOf(bad.machine, bad.happenings).map(({ error }) => error)).toEqual(
      Array.from({ length: 2 }, () => `CM1990: ${unit} exited with status 1`),
    )
  })

  test('of every GPU has one for each, with the GPU', () => {
    const folds = ['comfyui@gpu0.service', 'comfyui@gpu1.service'].map(
      (unit, index) => (machine: Machine) => foldUnit(machine, active(unit, 1 + index, 5 + index), []),
    )
    const { machine, happenings } = foldAll(planned(), folds)
    const [step, ...gpus] = spansOf(machine, happenings)
    expect(step).toMatchObject({ startUs: at(1), endUs: at(6), spanId: spanIdOf(TRACE_ID, 'step/19') })
    expect(step?.attributes).not.toHaveProperty('systemd.unit')
    expect(gpus.map(({ name, spanId, parentSpanId }) => [name, spanId, parentSpanId])).toEqual([
      ['machine.comfyui.server.start gpu0', invocationOf('comfyui@gpu0.service').slice(0, 16), step?.spanId],
      ['machine.comfyui.server.start gpu1', invocationOf('comfyui@gpu1.service').slice(0, 16), step?.spanId],
    ])
    expect(gpus[1]).toMatchObject({
      startUs: at(2),
      endUs: at(6),
      attributes: { 'gpu.index': 1, 'gpu.uuid': 'MOCK-1' },
    })
  })

  test('of every GPU has none for a GPU that has not ended', () => {
    const { machine, happenings } = foldAll(planned(), [
      (before) => foldUnit(before, failed('comfyui@gpu1.service', 1, 2), []),
    ])
    expect(spansOf(machine, happenings).map(({ name }) => name)).toEqual([
      'machine.comfyui.server.start',
      'machine.comfyui.server.start gpu1',
    ])
  })
})

describe('the root span', () => {
  const folded = foldAll(planned(1), [
    (machine) => endStep(machine, 1, { startUs: at(-30), endUs: at(-1), state: 'done' }),
    (machine) => foldJobNew(machine, 'comfyui@gpu0.service', at(2)),
    (machine) => foldUnit(machine, active('comfyui@gpu0.service', 3, 9), []),
    (machine) => foldUnit(machine, active(MODELS, 1, 4), []),
  ]).machine

  test('begins with the first step, has the steps in the order in which they completed, and no parent', () => {
    const span = startupSpan(enterPhase(folded, 'ready', at(10)).machine, at(10), context)
    expect(span).toMatchObject({
      name: 'machine.startup',
      startUs: at(-30),
      endUs: at(10),
      attributes: { step_number: 0 },
    })
    expect(span.events.map(({ name, atUs }) => [name, atUs])).toEqual([
      ['machine.container.start', at(-1)],
      ['machine.comfyui.service.start', at(2)],
      ['machine.models.install', at(4)],
      ['machine.comfyui.server.start', at(9)],
    ])
    expect(span).not.toHaveProperty('parentSpanId')
    expect(span).not.toHaveProperty('error')
  })

  test('is in error unless the machine became ready', () => {
    const down = foldUnit(folded, failed('redis-worker@gpu0.service', 9, 10), []).machine
    const span = startupSpan(enterPhase(down, 'failed', at(11)).machine, at(11), context)
    expect(span.error).toBe('CM2090: redis-worker@gpu0.service exited with status 1')
    const stopped = startupSpan(enterPhase(folded, 'stopped', at(11)).machine, at(11), context)
    expect(stopped.error).toBe('the startup ended stopped')
  })
})

test('a failure after step 21 is a short trace of its own, linked to the startup', () => {
  const failing = failingAt({ step: 19, unit: 'comfyui@gpu0.service', gpu: 'gpu0', atUs: at(90) })
  const attempt = { kind: 'attempt-failed', failing, startUs: at(89), afterReady: true } as const
  const span = incidentSpan(planned(), attempt, context)
  expect(span.traceId).toMatch(/^[0-9a-f]{32}$/)
  expect(span.traceId).not.toBe(TRACE_ID)
  expect(span).toMatchObject({
    name: 'machine.incident',
    startUs: at(89),
    endUs: at(90),
    links: [{ traceId: TRACE_ID, spanId: rootSpanId(TRACE_ID) }],
    events: [{ name: 'machine.step.failure', attributes: { duration_ms: 1000 } }],
    attributes: { step_number: 19, 'gpu.index': 0, 'systemd.unit': 'comfyui@gpu0.service' },
  })
  expect(span).not.toHaveProperty('parentSpanId')
  expect(incidentSpan(planned(), attempt, context)).toEqual(span)
})

describe('span ids', () => {
  test('are 16 hex digits, never all zero, and follow from trace and name', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (trace, name) => {
        expect(spanIdOf(trace, name)).toMatch(/^(?!0{16})[0-9a-f]{16}$/)
        expect(spanIdOf(trace, name)).toBe(spanIdOf(trace, name))
      }),
    )
    expect(spanIdOf('a', 'b')).not.toBe(spanIdOf('a', 'c'))
  })

  test('differ between all spans of a startup', () => {
    const ids = Array.from({ length: 21 }, (_, index) => stepSpanId(TRACE_ID, index + 1, undefined))
    expect(new Set([...ids, rootSpanId(TRACE_ID)]).size).toBe(22)
  })

  test('of work follow from the invocation and the keys', () => {
    expect(spanIdOfWork('f', ['a', 'b'])).toBe(spanIdOf('f', 'child/a/b'))
  })

  test('of a unit are the first half of its invocation id', () => {
    expect(spanIdOfInvocation(TRACE_ID)).toBe('0123456789abcdef')
    expect(stepSpanId(TRACE_ID, 18, 'f'.repeat(32))).toBe('f'.repeat(16))
    expect(stepSpanId(TRACE_ID, 15, 'f'.repeat(32))).not.toBe('f'.repeat(16))
  })
})

test('a unit that is back has a span over the time it was away, in the trace of its failure', () => {
  const failing = failingAt({ step: 19, unit: 'comfyui@gpu1.service', gpu: 'gpu1', atUs: at(70) })
  const incident = incidentSpan(
    planned(),
    { kind: 'attempt-failed', failing, startUs: at(1), afterReady: true },
    context,
  )
  expect(recoverySpan(planned(), { kind: 'recovered', failing, atUs: at(73) }, context)).toMatchObject({
    traceId: incident.traceId,
    parentSpanId: incident.spanId,
    name: 'machine.recovery',
    startUs: at(70),
    endUs: at(73),
    attributes: { step_number: 19, 'systemd.unit': 'comfyui@gpu1.service', 'gpu.index': 1 },
  })
})

test('a failure says how systemd saw the unit end, and its last lines', () => {
  const failing = failingAt({
    result: 'exit-code',
    exitStatus: 3,
    invocationId: 'c'.repeat(32),
    givenUp: true,
    lines: ['one', 'two'],
  })
  const incident = incidentSpan(
    planned(),
    { kind: 'attempt-failed', failing, startUs: at(1), afterReady: true },
    context,
  )
  expect(incident.events[0]?.attributes).toMatchObject({
    'systemd.result': 'exit-code',
    'systemd.invocation_id': 'c'.repeat(32),
    'process.exit.code': 3,
    given_up: true,
    'journal.lines': 'one\ntwo',
  })
  expect(incident.events[0]?.attributes).not.toHaveProperty('process.exit.signal')
})
