import { definitionOf, type MachineError, toMachineError } from '../errors.ts'
import type { Clock, Journal, Report } from '../host/ports.ts'

const FAILED = 1
const TRANSIENT = 75
const CONFIGURATION = 78

/** Where a unit's process tells its failure. */
interface FailurePorts {
  readonly clock: Clock
  readonly journal: Journal
  readonly report: Report
}

/** Reports the end of a unit's process by a failure; gives its exit code (sysexits): 75 passing, 78 configuration, else 1. */
export function reportUnitFailure(ports: FailurePorts, thrown: unknown): number {
  const error = toMachineError(thrown)
  const { code, type, message, hint } = error
  ports.report.write({ kind: 'failure', atUs: ports.clock.nowUs(), attempt: 1, code, type, message, hint })
  ports.journal.write({
    message: `${code}: ${message}`,
    priority: 'err',
    fields: { COMFY_ERROR_CODE: code, COMFY_ERROR_TYPE: type },
  })
  return exitCodeOf(error)
}

function exitCodeOf({ code, type }: MachineError): number {
  if (definitionOf(code).transient === true) return TRANSIENT
  return type === 'auth_failed' || type === 'config_missing' || type === 'config_invalid' ? CONFIGURATION : FAILED
}
