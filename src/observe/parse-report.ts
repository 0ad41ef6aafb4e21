import type { Attributes, ReportChild, ReportedAttempt, ReportedFailure, ReportedWork, ReportLine } from '../report.ts'

type Fields = Readonly<Record<string, unknown>>

const LONGEST_NAME = 300
const LONGEST_TEXT = 8_000
const MOST_ATTRIBUTES = 64
const MOST_PIECES = 4_000
const DEEPEST = 4

/**
 * The lines of a report that are what they should be; a process that is none of ours may have written there, and nothing
 * in it may stop the controller. A last line without its end is still being written and left out.
 */
export function parseReport(text: string): readonly ReportLine[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  return whole.split('\n', MOST_PIECES).flatMap((line) => readLine(parseObject(line)) ?? [])
}

/** The pieces of work that a report tells of. */
export const childrenOf = (report: readonly ReportLine[]): readonly ReportChild[] =>
  report.filter((line) => line.kind === 'child')

/** All facts of a report; a later one replaces an earlier one of its name. */
export const factsOf = (report: readonly ReportLine[]): Attributes =>
  Object.assign({}, ...report.map((line) => (line.kind === 'fact' ? line.attributes : {})))

function readLine(fields: Fields | undefined): ReportLine | undefined {
  switch (fields?.['kind']) {
    case 'begin': {
      const invocationId = readText(fields['invocationId'], LONGEST_NAME)
      return invocationId === undefined ? undefined : { kind: 'begin', invocationId }
    }
    case 'child': {
      const work = readWork(fields, DEEPEST)
      return work && { kind: 'child', ...work }
    }
    case 'step': {
      const [step, startUs, endUs] = ['step', 'startUs', 'endUs'].map((name) => readNumber(fields[name]))
      if (step === undefined || startUs === undefined || endUs === undefined) return undefined
      return { kind: 'step', step, startUs, endUs, attributes: readAttributes(fields['attributes']) }
    }
    case 'fact':
      return { kind: 'fact', attributes: readAttributes(fields['attributes']) }
    case 'shortfall': {
      const component = readText(fields['component'], LONGEST_NAME)
      const failure = readFailure(toFields(fields['failure']))
      return component === undefined || failure === undefined ? undefined : { kind: 'shortfall', component, failure }
    }
    case 'failure': {
      const attempt = readAttempt(fields)
      return attempt && { kind: 'failure', ...attempt }
    }
    default:
      return undefined
  }
}

function readWork(value: unknown, depth: number): ReportedWork | undefined {
  const fields = toFields(value)
  const name = readText(fields?.['name'], LONGEST_NAME)
  const [startUs, endUs] = [readNumber(fields?.['startUs']), readNumber(fields?.['endUs'])]
  const state = (['done', 'skipped', 'failed'] as const).find((each) => each === fields?.['state'])
  if (fields === undefined || name === undefined || state === undefined) return undefined
  if (startUs === undefined || endUs === undefined || depth === 0) return undefined
  const key = readText(fields['key'], LONGEST_NAME)
  const failure = readFailure(toFields(fields['failure']))
  const attempts = readList(fields['attempts'], (each) => readAttempt(toFields(each)))
  const children = readList(fields['children'], (each) => readWork(each, depth - 1))
  return {
    name,
    ...(key === undefined ? {} : { key }),
    startUs,
    endUs: Math.max(startUs, endUs),
    state,
    attributes: readAttributes(fields['attributes']),
    ...(failure === undefined ? {} : { failure }),
    ...(attempts.length === 0 ? {} : { attempts }),
    ...(children.length === 0 ? {} : { children }),
  }
}

function readAttempt(fields: Fields | undefined): ReportedAttempt | undefined {
  const failure = readFailure(fields)
  const [atUs, attempt] = [readNumber(fields?.['atUs']), readNumber(fields?.['attempt'])]
  return failure && atUs !== undefined && attempt !== undefined ? { ...failure, atUs, attempt } : undefined
}

function readFailure(fields: Fields | undefined): ReportedFailure | undefined {
  const [code, type] = [readText(fields?.['code'], LONGEST_NAME), readText(fields?.['type'], LONGEST_NAME)]
  const [message, hint] = [readText(fields?.['message'], LONGEST_TEXT), readText(fields?.['hint'], LONGEST_TEXT)]
  if (code === undefined || type === undefined || message === undefined || hint === undefined) return undefined
  // A unit may run a newer program than this controller, with codes and types of its own.
  return { code, type, message, hint } as ReportedFailure
}

function readAttributes(value: unknown): Attributes {
  const pairs = Object.entries(toFields(value) ?? {}).slice(0, MOST_ATTRIBUTES)
  return Object.fromEntries(
    pairs.flatMap(([name, each]): readonly (readonly [string, string | number | boolean])[] => {
      const known = typeof each === 'boolean' ? each : (readText(each, LONGEST_TEXT) ?? readNumber(each))
      return known === undefined ? [] : [[name.slice(0, LONGEST_NAME), known]]
    }),
  )
}

function readList<T>(value: unknown, read: (each: unknown) => T | undefined): readonly T[] {
  const all: readonly unknown[] = Array.isArray(value) ? value.slice(0, MOST_PIECES) : []
  return all.flatMap((each) => read(each) ?? [])
}

const readText = (value: unknown, longest: number): string | undefined =>
  typeof value === 'string' ? value.slice(0, longest) : undefined

const readNumber = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined

const toFields = (value: unknown): Fields | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined

function parseObject(line: string): Fields | undefined {
  try {
    return line === '' ? undefined : toFields(JSON.parse(line))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
