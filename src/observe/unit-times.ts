import type { UnitSnapshot } from '../host/ports.ts'

/** A moment on both of systemd's clocks: microseconds since the epoch, and of CLOCK_MONOTONIC. */
export interface Moment {
  readonly us: number
  readonly monoUs: number
}

// Two readings of the clocks are microseconds apart; a clock that was set jumps further than this.
const STEPPED_US = 1_000_000

/**
 * When something ended, in microseconds since the epoch: systemd's own time, unless the wall clock was set since `start`.
 * Then it is as far from the start as the clock that nobody sets says.
 */
export function endAfter(start: Moment, end: Moment): number {
  const distance = end.monoUs - start.monoUs
  return Math.abs(end.us - start.us - distance) > STEPPED_US ? start.us + distance : end.us
}

/** When a unit left inactive. */
export const leftInactive = (unit: UnitSnapshot): Moment => ({
  us: unit.inactiveExitUs,
  monoUs: unit.inactiveExitMonoUs,
})

/** When a unit became active. */
export const becameActive = (unit: UnitSnapshot): Moment => ({
  us: unit.activeEnterUs,
  monoUs: unit.activeEnterMonoUs,
})

/** When a unit became inactive or failed. */
export const becameInactive = (unit: UnitSnapshot): Moment => ({
  us: unit.inactiveEnterUs,
  monoUs: unit.inactiveEnterMonoUs,
})

const mainBegan = (unit: UnitSnapshot): Moment => ({ us: unit.execMainStartUs, monoUs: unit.execMainStartMonoUs })
const mainEnded = (unit: UnitSnapshot): Moment => ({ us: unit.execMainExitUs, monoUs: unit.execMainExitMonoUs })

const WITHOUT_PROCESS: readonly string[] = ['resources', 'start-limit-hit']

/** Tells whether the attempt that failed last ended with its main process, and not without one or beside it. */
export function endedWithProcess(unit: UnitSnapshot): boolean {
  const exit = unit.execMainExitMonoUs
  if (WITHOUT_PROCESS.includes(unit.result) || exit === 0 || exit < unit.execMainStartMonoUs) return false
  return exit >= unit.inactiveExitMonoUs || isWaitingAfter(unit, exit)
}

// Without RestartMode=direct a unit is failed for a moment, and leaves inactive by waiting for its restart.
const isWaitingAfter = (unit: UnitSnapshot, exit: number): boolean =>
  exit <= unit.inactiveEnterMonoUs && unit.inactiveEnterMonoUs <= unit.inactiveExitMonoUs

/**
 * When an attempt ended: with its main process, where it had one. The unit itself fails later than that when systemd has
 * waited for a restart that its start limit forbids.
 */
export const attemptEnd = (unit: UnitSnapshot): Moment =>
  endedWithProcess(unit) ? mainEnded(unit) : becameInactive(unit)

/** When an attempt began. A restart does not always begin with an inactive unit: then only its main process has a new begin. */
export function attemptStart(unit: UnitSnapshot): Moment {
  const [left, main, end] = [leftInactive(unit), mainBegan(unit), attemptEnd(unit)]
  const isMain = main.monoUs > 0 && main.monoUs <= end.monoUs
  if (isMain && (main.monoUs > left.monoUs || left.monoUs > end.monoUs)) return main
  return left.monoUs <= end.monoUs ? left : end
}

/** Tells whether the attempt that failed had been active before. */
export const wasActive = (unit: UnitSnapshot): boolean => unit.activeEnterMonoUs > attemptStart(unit).monoUs

/** When a snapshot's newest time was taken, CLOCK_MONOTONIC; 0 for a unit that was only loaded. Of one unit it never falls. */
export const lastChangeMonoUs = (unit: UnitSnapshot): number =>
  Math.max(
    unit.conditionMonoUs,
    unit.inactiveExitMonoUs,
    unit.activeEnterMonoUs,
    unit.inactiveEnterMonoUs,
    unit.execMainStartMonoUs,
    unit.execMainExitMonoUs,
  )
