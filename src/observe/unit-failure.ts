import { definitionOf, type ErrorCode, type ErrorType, isErrorCode } from '../errors.ts'
import type { UnitSnapshot } from '../host/ports.ts'
import type { ReportedFailure, ReportLine } from '../report.ts'
import type { UnitEnd } from './state.ts'
import { endedWithProcess, wasActive } from './unit-times.ts'

const FALLBACK: Readonly<Record<number, ErrorCode>> = {
  12: 'CM1290',
  14: 'CM1490',
  16: 'CM1690',
  17: 'CM1790',
  18: 'CM1890',
  19: 'CM1990',
  20: 'CM2090',
}

// Values of the Result property, systemd.exec(5) "$SERVICE_RESULT", and of a job that ended without a start.
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
  dependency: 'dependency_failed',
}

// systemd's values of ExecMainCode, CLD_* of waitid(2).
const EXITED = 1
const KILLED = 2
const DUMPED = 3

// signal(7), the same on every architecture that the machine runs on; 1 is SIGHUP.
const SIGNALS =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  )

/** Why a unit failed: its own last words if this invocation left any, else what systemd says of its end. */
export function failureOfUnit(step: number, unit: UnitSnapshot, report: readonly ReportLine[]): ReportedFailure {
  return ownFailure(unit, report) ?? describe(step, typeOf(unit), `${unit.name} ${endOf(unit)}`)
}

/** How systemd saw a unit end. The exit of a main process counts only where it belongs to this end. */
export function endOfUnit(unit: UnitSnapshot): UnitEnd {
  const own = { result: unit.result, ...(unit.invocationId === '' ? {} : { invocationId: unit.invocationId }) }
  if (!endedWithProcess(unit)) return own
  if (unit.exitCode === EXITED) return { ...own, exitStatus: unit.exitStatus }
  return isKilled(unit) ? { ...own, exitSignal: signalName(unit.exitStatus) } : own
}

/** The failure of a unit that was never started, by the result of its start job; without one nobody saw the job end. */
export function unstartedFailure(step: number, unit: string, jobResult: string | undefined): ReportedFailure {
  return describe(step, 'dependency_failed', `${unit} was not started${reasonOf(jobResult)}`)
}

/** The failure of a unit that was active and that somebody stopped. */
export function stoppedFailure(step: number, unit: string): ReportedFailure {
  return describe(step, 'dependency_failed', `${unit} was stopped`)
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

function typeOf(unit: UnitSnapshot): ErrorType {
  // The time to stop, or to run at all: systemd has one word for every limit.
  if (unit.result === 'timeout' && wasActive(unit)) return 'not_responding'
  return TYPE_OF_RESULT[unit.result] ?? 'process_exit'
}

function endOf(unit: UnitSnapshot): string {
  const signal = signalName(unit.exitStatus)
  switch (unit.result) {
    case 'timeout':
      return wasActive(unit) ? 'did not stop in time, or ran longer than it may' : 'did not start in time'
    case 'oom-kill':
      return 'was killed because the host ran out of memory'
    case 'watchdog':
      return 'missed its watchdog'
    case 'start-limit-hit':
      return 'was started too often in a short time'
    case 'protocol':
      return 'ended before it said that it is ready'
    case 'signal':
    case 'core-dump':
      if (!endedWithProcess(unit) || !isKilled(unit)) return 'was killed by a signal'
      return unit.exitCode === DUMPED ? `was killed by ${signal} and dumped core` : `was killed by ${signal}`
    case 'exit-code':
      if (endedWithProcess(unit) && unit.exitCode === EXITED && unit.exitStatus !== 0)
        return `exited with status ${unit.exitStatus}`
      return 'failed: a command before or after its main process exited with an error'
    default:
      return `failed: ${unit.result}`
  }
}

function signalName(number: number): string {
  const name = SIGNALS[number - 1]
  return name === undefined ? `signal ${number}` : `SIG${name}`
}

function reasonOf(jobResult: string | undefined): string {
  if (jobResult === undefined) return ': its start job is gone'
  return jobResult === 'dependency' ? ', because a unit it requires failed' : `: ${jobResult}`
}

const isKilled = ({ exitCode }: UnitSnapshot): boolean => exitCode === KILLED || exitCode === DUMPED
