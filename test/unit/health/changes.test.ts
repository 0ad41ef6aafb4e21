import { describe, expect, it } from 'vitest'
import { diffSightings } from '../../../src/health/changes.ts'
import {
  BEGUN_US,
  buildDownloading,
  buildFailed,
  buildReady,
  buildState,
  buildStep,
  buildUnit,
  seen,
} from './build-state.ts'

const NOW_US = BEGUN_US + 20_000_000
const names = (events: readonly { readonly event: string }[]): readonly string[] => events.map(({ event }) => event)

describe('diffSightings', () => {
  it('is empty for the same state read twice', () => {
    expect(diffSightings(seen(buildState()), seen(buildState()), NOW_US)).toEqual([])
    expect(diffSightings({ alive: false }, { alive: false }, NOW_US)).toEqual([])
  })

  it('has one event for one changed step', () => {
    const before = buildState()
    const steps = before.steps.map((step) => (step.number === 17 ? buildStep(17, 'done') : step))
    const events = diffSightings(seen(before), seen({ ...before, steps, warnings: [] }), NOW_US)
    const step = events.find(({ event }) => event === 'step')
    expect(names(events)).toEqual(['step', 'machine'])
    expect(JSON.parse(step?.data ?? '')).toMatchObject({ number: 17, state: 'done', duration_ms: 500 })
  })

  it('has an event for a step that came further', () => {
    const before = buildDownloading()
    const further = { done: 4, total: 32, current: [] }
    const steps = before.steps.map((step) => (step.number === 18 ? { ...step, progress: further } : step))
    const events = diffSightings(seen(before), seen({ ...before, steps }), NOW_US)
    expect(names(events)).toEqual(['step'])
    expect(JSON.parse(events[0]?.data ?? '')).toMatchObject({ number: 18, progress: { done: 4, total: 32 } })
  })

  it('has one event for one changed unit', () => {
    const before = buildState()
    const units = [buildUnit('comfy-health.service', { restarts: 1 }), ...before.units.slice(1)]
    const events = diffSightings(seen(before), seen({ ...before, units }), NOW_US)
    expect(names(events)).toEqual(['unit'])
    expect(JSON.parse(events[0]?.data ?? '')).toMatchObject({ name: 'comfy-health.service', restarts: 1 })
  })

  it('has a machine event when readiness falls without a step or unit changing', () => {
    const events = diffSightings(seen(buildReady()), seen(buildReady(), false), NOW_US)
    expect(names(events)).toEqual(['machine'])
    expect(JSON.parse(events[0]?.data ?? '')).toMatchObject({ ready: false, healthy: false })
  })

  it('begins anew with a snapshot for another startup', () => {
    const next = buildState({ traceId: 'ff'.repeat(16) })
    expect(names(diffSightings(seen(buildFailed()), seen(next), NOW_US))).toEqual(['snapshot'])
    expect(names(diffSightings({ alive: false }, seen(next), NOW_US))).toEqual(['snapshot'])
    expect(names(diffSightings(seen(next), { alive: false }, NOW_US))).toEqual(['snapshot'])
  })
})
