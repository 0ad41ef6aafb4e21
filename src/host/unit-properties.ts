import type { ListedUnit, UnitSnapshot } from './ports.ts'

/** Properties of a unit by name, variants unwrapped. */
export type Properties = Readonly<Record<string, unknown>>

const PREFIX = '/org/freedesktop/systemd1/unit/'

/** The object path of a unit: every byte but [A-Za-z0-9] as _xx, see sd_bus_path_encode(3). */
export function escapeUnitPath(name: string): string {
  const encode = (char: string): string =>
    [...Buffer.from(char)].map((byte) => `_${byte.toString(16).padStart(2, '0')}`).join('')
  const escaped = name.replace(/[^A-Za-z0-9]/gu, encode)
  return PREFIX + (/^[0-9]/.test(escaped) ? encode(escaped.charAt(0)) + escaped.slice(1) : escaped)
}

/** The unit name of an object path; undefined for other objects. */
export function unitNameOfPath(path: string): string | undefined {
  if (!path.startsWith(PREFIX)) return undefined
  return path
    .slice(PREFIX.length)
    .replace(/_([0-9a-f]{2})/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)))
}

/** One unit's properties as a snapshot; what the unit's type does not have is empty or 0. */
export function readSnapshot(name: string, properties: Properties): UnitSnapshot {
  const text = (key: string): string => (typeof properties[key] === 'string' ? properties[key] : '')
  const number = (key: string): number => Number(properties[key] ?? 0)
  const job = properties['Job']
  const invocation = properties['InvocationID']
  const loadError = properties['LoadError']
  return {
    name,
    loadState: text('LoadState'),
    activeState: text('ActiveState'),
    subState: text('SubState'),
    result: text('Result'),
    jobId: Array.isArray(job) ? Number(job[0]) : 0,
    invocationId: invocationHex(invocation),
    restarts: number('NRestarts'),
    mainPid: number('MainPID') || number('ExecMainPID'),
    exitCode: number('ExecMainCode'),
    exitStatus: number('ExecMainStatus'),
    statusText: text('StatusText'),
    conditionResult: properties['ConditionResult'] === true,
    conditionUs: number('ConditionTimestamp'),
    conditionMonoUs: number('ConditionTimestampMonotonic'),
    inactiveExitUs: number('InactiveExitTimestamp'),
    inactiveExitMonoUs: number('InactiveExitTimestampMonotonic'),
    activeEnterUs: number('ActiveEnterTimestamp'),
    activeEnterMonoUs: number('ActiveEnterTimestampMonotonic'),
    inactiveEnterUs: number('InactiveEnterTimestamp'),
    inactiveEnterMonoUs: number('InactiveEnterTimestampMonotonic'),
    execMainStartUs: number('ExecMainStartTimestamp'),
    execMainStartMonoUs: number('ExecMainStartTimestampMonotonic'),
    execMainExitUs: number('ExecMainExitTimestamp'),
    execMainExitMonoUs: number('ExecMainExitTimestampMonotonic'),
    needDaemonReload: properties['NeedDaemonReload'] === true,
    loadError: Array.isArray(loadError) ? loadError.filter(Boolean).join(': ') : '',
  }
}

/** The rows of the manager's ListUnits calls. */
export function listedUnits([units]: readonly unknown[]): readonly ListedUnit[] {
  const row = (unit: readonly unknown[]): ListedUnit => {
    const [name, , loadState, activeState, subState, , , jobId] = unit
    return {
      name: String(name),
      loadState: String(loadState),
      activeState: String(activeState),
      subState: String(subState),
      jobId: Number(jobId),
    }
  }
  return (units as readonly (readonly unknown[])[]).map(row)
}

function invocationHex(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.length === 16 ? value.toString('hex') : ''
  if (Array.isArray(value) && value.length === 16) return Buffer.from(value as number[]).toString('hex')
  return ''
}
