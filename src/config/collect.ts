import { nearest } from './nearest.ts'
import { isVariableName, parseEnv } from './parse-env.ts'
import { type Origin, type Problem, problemOf, type Warning, warningOf } from './problem.ts'
import { isKnownName, isSecretName, knownNames, RETIRED, variableOf } from './variables.ts'

/**
 * One place that gives variables. Files are in the syntax of EnvironmentFile=; `mode` and `uid` of a secrets file are
 * checked when they are known. The process environment and systemd credentials are plain values.
 */
export type ConfigSource =
  | { readonly kind: 'environment' | 'credential'; readonly name: string; readonly values: Values }
  | { readonly kind: 'machine'; readonly name: string; readonly text: string }
  | {
      readonly kind: 'secrets'
      readonly name: string
      readonly text: string
      readonly mode?: number
      readonly uid?: number
    }

type Values = Readonly<Record<string, string>>

/** The value of a variable that counts, where it was written, and whether it is kept secret. */
export interface Setting {
  readonly value: string
  readonly origin: Origin
  readonly secret: boolean
}

/** Every variable that is set, by the name as written, and what was found on the way. */
export interface Collected {
  readonly settings: ReadonlyMap<string, Setting>
  readonly problems: readonly Problem[]
  readonly warnings: readonly Warning[]
}

/** Lays the sources over each other, a later one counts more; an empty value unsets the variable. */
export function collectSettings(sources: readonly ConfigSource[]): Collected {
  const settings = new Map<string, Setting>()
  const problems: Problem[] = []
  const warnings: Warning[] = []
  for (const source of sources) {
    const file = readSource(source)
    problems.push(...file.problems, ...exposureOf(source))
    warnings.push(...file.warnings)
    const seen = new Map<string, number | null>()
    for (const { name, value, line } of file.assignments) {
      const origin: Origin = { file: source.name, line }
      if (source.kind === 'environment' && !isKnownName(name)) continue
      const secret = source.kind === 'secrets' || source.kind === 'credential' || isSecretName(name)
      const before = seen.get(name)
      if (before !== undefined) {
        const where = before === null ? '' : ` in line ${before}`
        warnings.push(warningOf(`${name} is set before${where}; this one counts`, { origin, variable: name }))
      }
      seen.set(name, line)
      const unknown = unknownWarning(name)
      if (unknown !== undefined) warnings.push(warningOf(unknown, { origin, variable: name }))
      if (!secret && /[\0\r\n]/.test(value)) {
        problems.push(problemOf('CM0302', `${name} has a line break in its value`, { origin, variable: name }))
      }
      if (source.kind === 'machine' && isRevealing(name, value, secret)) {
        const message = `${name} holds a secret in a file that everyone on the host can read; move it to secrets.env`
        warnings.push(warningOf(message, { origin, variable: name }))
      }
      const kept = secret || settings.get(name)?.secret === true
      settings.delete(name)
      if (value !== '') settings.set(name, { value, origin, secret: kept })
    }
  }
  return { settings, problems, warnings }
}

interface SourceContent {
  readonly assignments: readonly { readonly name: string; readonly value: string; readonly line: number | null }[]
  readonly problems: readonly Problem[]
  readonly warnings: readonly Warning[]
}

function readSource(source: ConfigSource): SourceContent {
  if (source.kind === 'machine' || source.kind === 'secrets') return parseEnv(source.text, source.name)
  const entries = Object.entries(source.values).filter(([name]) => isVariableName(name))
  return { assignments: entries.map(([name, value]) => ({ name, value, line: null })), problems: [], warnings: [] }
}

function exposureOf(source: ConfigSource): readonly Problem[] {
  if (source.kind !== 'secrets') return []
  const origin: Origin = { file: source.name, line: null }
  const problems: Problem[] = []
  if (source.mode !== undefined && (source.mode & 0o177) !== 0) {
    const mode = source.mode.toString(8).padStart(4, '0')
    problems.push(
      problemOf('CM0303', `the mode is ${mode}, it must be 0600`, { origin, hint: `Run chmod 600 ${source.name}.` }),
    )
  }
  if (source.uid !== undefined && source.uid !== 0) {
    const message = `the owner is user ${source.uid}, it must be root`
    problems.push(problemOf('CM0303', message, { origin, hint: `Run chown root: ${source.name}.` }))
  }
  return problems
}

function unknownWarning(name: string): string | undefined {
  const retired = RETIRED.get(name)
  if (retired !== undefined) return `${name} is not read: ${retired}`
  if (isKnownName(name)) return undefined
  const meant = nearest(name, knownNames())
  return meant === undefined ? undefined : `${name} is not known: did you mean ${meant}?`
}

/** A URL reveals something when it has a password in it; any other secret always does. */
function isRevealing(name: string, value: string, secret: boolean): boolean {
  if (/:\/\/[^/\s@]*:[^/\s@]+@/.test(value)) return true
  return secret && value !== '' && variableOf(name)?.kind !== 'redis-url'
}
