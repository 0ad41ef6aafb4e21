import { describe, expect, test } from 'vitest'
import type { Machine } from '../../../src/observe/machine.ts'
import { LATER_MODELS } from '../../../src/plan/plan.ts'
import { isWhole } from '../../../src/tend.ts'
import { childOf, factOf, foldRun, PROGRESS, runOf, SAID } from './build-later-models.ts'
import { at, changed, foldAll, inPhase, invocationOf, planned, unitOf } from './build-machine.ts'

const ready = (): Machine => inPhase('ready')
const missing = ({ state }: Machine): readonly string[] =>
  state.shortfalls.map(({ component, code }) => `${component} ${code}`)
const kinds = (happenings: readonly { readonly kind: string }[]): readonly string[] =>
  happenings.map(({ kind }) => kind)

describe('models that are loaded after the start', () => {
  test('are unknown until the unit has started in this startup', () => {
    for (const unit of [unitOf(LATER_MODELS), changed(runOf.done(), { inactiveExitUs: at(-5), activeEnterUs: at(-1) })])
      expect(foldRun(unit)(ready()).machine.state).not.toHaveProperty('laterModels')
  })

  test('show how far they are, and their begin is told once', () => {
    const speaking = runOf.running(1, { statusText: SAID })
    const early = { ...PROGRESS, bytes: 0, totalBytes: undefined } as unknown as typeof PROGRESS
    const { machine, happenings } = foldAll(ready(), [
      foldRun(runOf.running()),
      foldRun(speaking, [], early),
      foldRun(speaking, [], PROGRESS),
      foldRun(speaking, [], { ...PROGRESS, done: 2 }),
      foldRun(speaking),
    ])
    expect(kinds(happenings)).toEqual(['later-models-begun'])
    expect(happenings[0]).toMatchObject({ loading: { progress: PROGRESS } })
    expect(machine.state.laterModels).toEqual({
      ...{ unit: LATER_MODELS, invocationId: invocationOf(LATER_MODELS), state: 'running', startUs: at(60) },
      ...{ detail: SAID, progress: { ...PROGRESS, done: 2 }, attributes: {} },
    })
    expect(machine.state.units).toEqual(ready().state.units)
  })

  test('are done with what came of them, once', () => {
    const lines = [childOf('wan', 'done'), factOf({ 'models.wanted': 1, 'models.downloaded': 1 })]
    const { machine, happenings } = foldAll(ready(), [
      foldRun(runOf.running(), [], PROGRESS),
      foldRun(runOf.done(), lines),
      foldRun(runOf.done(), lines),
    ])
    expect(kinds(happenings)).toEqual(['later-models-begun', 'later-models-ended'])
    expect(happenings[1]).toMatchObject({ children: [{ name: 'model wan' }] })
    expect(happenings[1]).not.toHaveProperty('failure')
    expect(machine.state.laterModels).toEqual({
      ...{
        unit: LATER_MODELS,
        invocationId: invocationOf(LATER_MODELS),
        state: 'done',
        startUs: at(60),
        endUs: at(70),
      },
      attributes: { 'models.wanted': 1, 'models.downloaded': 1 },
    })
  })

  test('that fail are missing, and the machine is as ready as before', () => {
    const lines = [childOf('wan', 'done'), childOf('lora', 'failed')]
    const { machine, happenings } = foldAll(planned(), [foldRun(runOf.running()), foldRun(runOf.failed(), lines)])
    expect(kinds(happenings)).toEqual(['shortfall', 'later-models-ended'])
    expect(happenings[1]).toMatchObject({ failure: { code: 'CM1890' } })
    expect(machine.state.shortfalls).toMatchObject([
      {
        ...{ component: 'model lora', code: 'CM1802', step: 18, unit: LATER_MODELS },
        run: 'journalctl -u comfy-load-models -b -e',
      },
    ])
    expect(machine.state.failing).toEqual([])
    expect([...machine.outcomes]).toEqual([...planned().outcomes])
    expect(machine.state.laterModels?.state).toBe('failed')
  })

  test('are all missing when a run fails before it comes to one', () => {
    const { machine } = foldRun(runOf.failed())(ready())
    expect(missing(machine)).toEqual(['models for after the start CM1890'])
    expect(isWhole(machine)).toBe(isWhole(ready()))
  })

  test('stay missing while systemd tries again, are told once, and are there when that went well', () => {
    const gone = childOf('wan', 'failed', 'CM1801')
    const { machine: waiting, happenings } = foldAll(ready(), [
      foldRun(runOf.waiting(1), [gone]),
      foldRun(runOf.waiting(1), [gone]),
      // The next invocation, before its start.
      foldRun(runOf.waiting(2)),
      foldRun(runOf.running(2), [], PROGRESS),
      foldRun(changed(runOf.waiting(2), { execMainExitUs: at(90) }), [gone]),
    ])
    expect(kinds(happenings)).toEqual([
      ...['shortfall', 'later-models-ended', 'later-models-begun', 'later-models-ended'],
    ])
    expect(waiting.state.laterModels?.state).toBe('waiting')
    expect(missing(waiting)).toEqual(['model wan CM1801'])
    const again = foldRun(runOf.running(3))(waiting).machine
    expect(missing(again)).toEqual(['model wan CM1801'])
    expect(missing(foldRun(runOf.done(3), [childOf('wan', 'done')])(again).machine)).toEqual([])
  })

  test.each([
    ['its process was told of', { execMainStartUs: at(61) }],
    ['its process was not told of yet', { execMainStartUs: 0 }],
  ])('end with their own run, also when only its end under the next invocation was seen and %s', (_, first) => {
    const gone = childOf('wan', 'failed', 'CM1801')
    const { machine, happenings } = foldAll(ready(), [
      foldRun(changed(runOf.running(1), first), [], PROGRESS),
      foldRun(changed(runOf.waiting(2), { execMainStartUs: at(61) }), [gone]),
      foldRun(changed(runOf.running(2), { execMainStartUs: at(95) }), [], PROGRESS),
      foldRun(changed(runOf.done(2), { execMainStartUs: at(95) }), [childOf('wan', 'done')]),
    ])
    const ends = happenings.filter((each) => each.kind === 'later-models-ended')
    expect(ends.map(({ loading }) => [loading.invocationId, loading.state])).toEqual([
      [runOf.running(1).invocationId, 'waiting'],
      [runOf.running(2).invocationId, 'done'],
    ])
    expect(ends[1]?.children).toHaveLength(1)
    expect(missing(machine)).toEqual([])
  })

  test('go on with a run that has just begun while systemd still calls the unit waiting', () => {
    const gone = childOf('wan', 'failed', 'CM1801')
    const begun = changed(runOf.waiting(2), { inactiveExitUs: at(94), execMainStartUs: at(95), execMainExitUs: at(70) })
    const { machine, happenings } = foldAll(ready(), [
      foldRun(runOf.waiting(1), [gone]),
      foldRun(begun),
      foldRun(changed(runOf.done(2), { execMainStartUs: at(95) }), [childOf('wan', 'done')]),
    ])
    const ends = happenings.filter((each) => each.kind === 'later-models-ended')
    expect(ends.map(({ loading, children }) => [loading.state, children.length])).toEqual([
      ['waiting', 1],
      ['done', 1],
    ])
    expect(missing(machine)).toEqual([])
  })

  test('are stopped when somebody stops the unit, unless they are there', () => {
    const stopped = (unit: typeof runOf.done) =>
      changed(unit(), { activeState: 'inactive', subState: 'dead', inactiveEnterUs: at(80), execMainExitUs: at(80) })
    const loadingAfter = (...folds: Parameters<typeof foldAll>[1]) => foldAll(ready(), folds).machine.state.laterModels
    const running = loadingAfter(foldRun(runOf.running(), [], PROGRESS), foldRun(stopped(runOf.running)))
    expect(running).toMatchObject({ state: 'stopped', endUs: at(80) })
    expect(running).not.toHaveProperty('progress')
    expect(loadingAfter(foldRun(runOf.waiting()), foldRun(stopped(runOf.running)))?.state).toBe('stopped')
    expect(loadingAfter(foldRun(runOf.done()), foldRun(stopped(runOf.done)))?.state).toBe('done')
  })
})
