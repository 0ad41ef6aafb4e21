import { definitionOf, type ErrorCode, type ErrorType, isErrorCode } from '../errors.ts'
import type { UnitSnapshot } from '../host/ports.ts'
import type { ReportedFailure, ReportLine } from '../report.ts'

const FALLBACK: Readonly<Record<number, ErrorCode>> = {
  12: 'CM1290',
  14: 'CM1490',
  16: 'CM1690',
  17: 'CM1790',
  18: 'CM1890',
  19: 'CM1990',
  20: 'CM2090',
}

// Values of the Result property, systemd.exec(5) "$SERVICE_RESULT".
const TYPE_OF_RESULT: Readonly<Record<string, ErrorType>> = {
  'exit-code': 'process_exit',
  signal: 'process_signal',
  'core-dump': 'process_signal',
  'oom-kill': 'oom_kill',
  timeout: 'start_timeout',
  watchdog: 'watchdog',
  'start-limit-hit': 'start_limit',
  resources: 'exec_failed',
  protocol: 'not_responding',
}

/** Why a unit failed: its own last words if this invocation left any, else what systemd says of its end. */
export function failureOfUnit(step: number, unit: UnitSnapshot, report: readonly ReportLine[]): ReportedFailure {
  const said = ownFailure(unit, report)
  return said ?? describe(step, TYPE_OF_RESULT[unit.result] ?? 'process_exit', `${unit.name} ${endOf(unit)}`)
}

/** The failure of a unit that was never started because a unit it requires failed. */
export function dependencyFailure(step: number, unit: string, result: string): ReportedFailure {
  const what =
    result === 'dependency' ? 'was not started, because a unit it requires failed' : `was not started: ${result}`
  return describe(step, 'dependency_failed', `${unit} ${what}`)
}

/** The failure of a health server whose socket could not be bound. */
export function portFailure(port: number): ReportedFailure {
  const { type, hint } = definitionOf('CM1201')
  return { code: 'CM1201', type, message: `port ${port} of comfy-health.socket is in use by another program`, hint }
}

function ownFailure(unit: UnitSnapshot, report: readonly ReportLine[]): ReportedFailure | undefined {
  const begin = report.find((line) => line.kind === 'begin')
  if (begin === undefined || (unit.invocationId !== '' && begin.invocationId !== unit.invocationId)) return undefined
  const line = report.findLast((candidate) => candidate.kind === 'failure')
  // A unit may run a newer program than this controller, and name a code that is not known here.
  if (line === undefined || !isErrorCode(line.code)) return undefined
  return { code: line.code, type: line.type, message: line.message, hint: line.hint }
}

function describe(step: number, type: ErrorType, message: string): ReportedFailure {
  const code = FALLBACK[step] ?? 'CM2101'
  return { code, type, message, hint: definitionOf(code).hint }
}

function endOf(unit: UnitSnapshot): string {
  if (unit.result === 'timeout') return 'did not start in time'
  if (unit.result === 'oom-kill') return 'was killed because the host ran out of memory'
  if (unit.result === 'watchdog') return 'missed its watchdog'
  if (unit.result === 'signal' || unit.result === 'core-dump') return `was killed by signal ${unit.exitStatus}`
  if (unit.result === 'exit-code' && unit.exitStatus !== 0) return `exited with status ${unit.exitStatus}`
  return `failed: ${unit.result}`
}
