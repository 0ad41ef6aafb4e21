import { describe, expect, test } from 'vitest'
import type { UnitSnapshot } from '../../src/host/ports.ts'
import { type LaterFacts, planLoading } from '../../src/later-models.ts'
import { LATER_MODELS } from '../../src/plan/plan.ts'
import { runOf } from './observe/build-later-models.ts'
import { at, changed, monoAt, unitOf } from './observe/build-machine.ts'

const plan = (unit: UnitSnapshot, more: Partial<LaterFacts> = {}): readonly string[] =>
  planLoading({ wanted: 1, unit, changedUs: at(10), startedMonoUs: monoAt(0), ...more }).map(({ kind }) => kind)

const never = unitOf(LATER_MODELS)
const stopped = changed(runOf.running(), { activeState: 'inactive', subState: 'dead', inactiveEnterUs: at(65) })
const BEGIN = ['reset-failed', 'start']

describe('models for after the start', () => {
  test('are loaded once in a startup, where there are any', () => {
    expect(plan(never)).toEqual(BEGIN)
    expect(plan(never, { wanted: 0 })).toEqual([])
    expect(plan({ ...never, jobId: 7 })).toEqual([])
    const earlier = { ...stopped, inactiveExitMonoUs: monoAt(-9) }
    expect(plan(earlier)).toEqual(BEGIN)
  })

  test.each([
    ['are loaded', runOf.running()],
    ['are there', runOf.done()],
    ['have failed', runOf.failed()],
    ['are tried again by systemd', runOf.waiting()],
    ['were stopped by somebody', stopped],
  ])('that %s are left alone by a controller that comes back', (_, unit) => {
    expect(plan(unit)).toEqual([])
  })

  test('are loaded anew when they have become others, but not while they are loaded', () => {
    const after = { changedUs: at(75) }
    expect(plan(runOf.done(), after)).toEqual(['stop', ...BEGIN])
    expect(plan(runOf.failed(), after)).toEqual(BEGIN)
    expect(plan(stopped, after)).toEqual(BEGIN)
    expect(plan(runOf.running(), after)).toEqual([])
    expect(plan(runOf.waiting(), after)).toEqual([])
  })

  test('that are not wanted any more are looked at once, so that nobody misses them', () => {
    expect(plan(runOf.failed(), { wanted: 0, changedUs: at(75) })).toEqual(BEGIN)
    expect(plan(runOf.failed(), { wanted: 0 })).toEqual([])
  })
})
