import type { ServerEvent } from '../host/ports.ts'
import type { MachineState } from '../observe/state.ts'
import { laterModelsReport } from './progress-report.ts'
import type { Sighting } from './record.ts'
import { failingReport, knownUntilUs, shortfallReport, statusReport, stepReport, unitReport } from './reports.ts'
import { judge } from './standing.ts'

/** The first event of a stream: the whole status document. */
export function snapshotEvent(sighting: Sighting, nowUs: number): ServerEvent {
  return toEvent('snapshot', statusReport(sighting, nowUs).body)
}

/**
 * What changed between two sightings: one `step` event per changed step, one `unit` event per changed unit, one `machine`
 * event when the machine as a whole stands elsewhere; a `snapshot` where the two are not of one startup.
 */
export function diffSightings(before: Sighting, after: Sighting, nowUs: number): readonly ServerEvent[] {
  const [old, now] = [before.state, after.state]
  if (old === undefined && now === undefined) return []
  if (old === undefined || now === undefined || !isComparable(old, now)) return [snapshotEvent(after, nowUs)]
  const untilUs = knownUntilUs(now, after.alive, nowUs)
  return [
    ...changed(old.steps, now.steps, (step) => step.number).map((step) => toEvent('step', stepReport(step, untilUs))),
    ...changed(old.units, now.units, (unit) => unit.name).map((unit) => toEvent('unit', unitReport(unit))),
    ...(isEqual(machineReport(before), machineReport(after)) ? [] : [toEvent('machine', machineReport(after))]),
  ]
}

/** The elements of `after` that are new or differ from their namesake in `before`. */
export function changed<T>(before: readonly T[], after: readonly T[], keyOf: (item: T) => unknown): readonly T[] {
  const known = new Map(before.map((item) => [keyOf(item), item]))
  return after.filter((item) => !isEqual(known.get(keyOf(item)), item))
}

function isComparable(old: MachineState, now: MachineState): boolean {
  const names = new Set(now.units.map((unit) => unit.name))
  return old.traceId === now.traceId && old.units.every((unit) => names.has(unit.name))
}

function machineReport(sighting: Sighting): Readonly<Record<string, unknown>> {
  return {
    ...judge(sighting),
    step: sighting.state?.step ?? 0,
    failing: (sighting.state?.failing ?? []).map(failingReport),
    degraded: (sighting.state?.shortfalls ?? []).map(shortfallReport),
    later_models: sighting.state?.laterModels === undefined ? null : laterModelsReport(sighting.state.laterModels),
    warnings: sighting.state?.warnings ?? [],
    evidence: sighting.state?.evidence ?? {},
  }
}

function toEvent(event: string, data: unknown): ServerEvent {
  return { event, data: JSON.stringify(data) }
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
