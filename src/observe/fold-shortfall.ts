import { definitionOf, type ErrorCode, isErrorCode } from '../errors.ts'
import type { UnitSnapshot } from '../host/ports.ts'
import { LATER_MODELS } from '../plan/plan.ts'
import type { ReportLine } from '../report.ts'
import type { Folded } from './fold-step.ts'
import type { Machine } from './machine.ts'
import type { ShortfallState } from './state.ts'
import type { UnitStep } from './unit-steps.ts'

/** Takes what a unit that is up goes on without; a report of another invocation tells nothing. What is known is not told again. */
export function foldShortfalls(
  machine: Machine,
  { step, gpu }: UnitStep,
  unit: UnitSnapshot,
  report: readonly ReportLine[],
): Folded {
  const begin = report.find((line) => line.kind === 'begin')
  if (begin === undefined || begin.invocationId !== unit.invocationId) return { machine, happenings: [] }
  const own = report.flatMap((line): readonly ShortfallState[] => {
    // A unit may run a newer program than this controller, and name a code that is not known here.
    if (line.kind !== 'shortfall' || !isErrorCode(line.failure.code)) return []
    const { component, failure } = line
    const place = { step: step.number, stepName: step.title, unit: unit.name, ...(gpu === undefined ? {} : { gpu }) }
    return [{ ...failure, ...place, component, run: runOf(failure.code, unit.name) }]
  })
  const { shortfalls } = machine.state
  const isKnown = ({ unit: name, component, code }: ShortfallState): boolean =>
    shortfalls.some((each) => each.unit === name && each.component === component && each.code === code)
  const others = shortfalls.filter((each) => each.unit !== unit.name)
  const fresh = own.filter((each) => !isKnown(each))
  return {
    machine: withShortfalls(machine, [...others, ...own]),
    happenings: fresh.map((shortfall) => ({ kind: 'shortfall', shortfall })),
  }
}

/** The machine with the shortfalls of a unit forgotten, which starts anew or is down. */
export function clearShortfalls(machine: Machine, unit: string): Machine {
  return withShortfalls(
    machine,
    machine.state.shortfalls.filter((each) => each.unit !== unit),
  )
}

// The models have an installer of their own after the start.
function runOf(code: ErrorCode, unit: string): string {
  const { run } = definitionOf(code)
  return unit === LATER_MODELS ? run.replace('comfy-install-models', LATER_MODELS.replace(/\.service$/, '')) : run
}

function withShortfalls(machine: Machine, shortfalls: readonly ShortfallState[]): Machine {
  const { state } = machine
  if (shortfalls.length === 0 && state.shortfalls.length === 0) return machine
  const ordered = shortfalls.toSorted((a, b) => a.step - b.step || compare(a.unit, b.unit))
  return { ...machine, state: { ...state, shortfalls: ordered } }
}

const compare = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true })

/** What the machine goes on without, each component once: `custom node X (CM1902), prompt (CM1904)`; empty when it has all. */
export function describeShortfalls(shortfalls: readonly ShortfallState[]): string {
  return [...new Set(shortfalls.map(({ component, code }) => `${component} (${code})`))].join(', ')
}
