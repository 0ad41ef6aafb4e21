import { definitionOf, type ErrorCode, MachineError } from '../errors.ts'

/** Where something of the configuration was written; `line` is null where a source has no lines. */
export interface Origin {
  readonly file: string
  readonly line: number | null
}

/** One thing that is wrong with the configuration; nothing is applied while there is one. */
export interface Problem {
  readonly code: ErrorCode
  readonly file: string | null
  readonly line: number | null
  readonly variable: string | null
  readonly message: string
  readonly hint: string
}

/** Something of the configuration that works but is probably not meant. */
export interface Warning {
  readonly file: string | null
  readonly line: number | null
  readonly variable: string | null
  readonly message: string
}

/** What a problem can say beyond its code and sentence. */
export interface ProblemContext {
  readonly origin?: Origin | undefined
  readonly variable?: string | undefined
  readonly hint?: string | undefined
}

/** A problem with the hint of its code, unless a better one is given. */
export function problemOf(code: ErrorCode, message: string, context: ProblemContext = {}): Problem {
  return {
    code,
    file: context.origin?.file ?? null,
    line: context.origin?.line ?? null,
    variable: context.variable ?? null,
    message,
    hint: context.hint ?? definitionOf(code).hint,
  }
}

/** A warning about one place of the configuration. */
export function warningOf(message: string, context: Omit<ProblemContext, 'hint'> = {}): Warning {
  return {
    file: context.origin?.file ?? null,
    line: context.origin?.line ?? null,
    variable: context.variable ?? null,
    message,
  }
}

/** `file:line: ` of a problem or warning as a prefix for people; empty when it has no place. */
export function placeOf(finding: { readonly file: string | null; readonly line: number | null }): string {
  if (finding.file === null) return ''
  return finding.line === null ? `${finding.file}: ` : `${finding.file}:${finding.line}: `
}

/** Findings as sentences for people, each with its place. */
export function findingSentences(findings: readonly Warning[]): readonly string[] {
  return findings.map((finding) => `${placeOf(finding)}${finding.message}`)
}

/** The failure that stands for a list of problems: the first one's code and hint, every message. Undefined without problems. */
export function errorOfProblems(problems: readonly Problem[]): MachineError | undefined {
  const [first] = problems
  if (first === undefined) return undefined
  const message = problems.map((problem) => `${placeOf(problem)}${problem.message}`).join('; ')
  return new MachineError(first.code, message, { hint: first.hint })
}
