import { MachineError } from '../errors.ts'
import type { ExpectedNode } from './expected.ts'
import type { Gap } from './gap.ts'

/** A custom node that ComfyUI could not import. */
export interface ImportFailure {
  /** Name of its directory, or of its file without `.py`. */
  readonly name: string
  readonly path: string
  /** The exception, or what ComfyUI says of the node; undefined when the log no longer holds it. */
  readonly reason: string | undefined
}

/** What ComfyUI's log says about custom nodes. */
export interface ImportReport {
  /** The list of import times was found: every custom node was tried. */
  readonly isComplete: boolean
  /** Names of the nodes that were imported. */
  readonly imported: readonly string[]
  readonly failures: readonly ImportFailure[]
}

const HEADER = 'Import times for custom nodes:'
const TIMED = /^\s*\d+\.\d+ seconds( \(IMPORT FAILED\))?: (.+)$/
const FAILED = ' (IMPORT FAILED)'
const REASON = [
  /^Cannot import (.+?) module for custom nodes: (.*)$/,
  /^Error while calling comfy_entrypoint in (.+?): (.*)$/,
  /^Skip (.+?) module for custom nodes due to (.*)$/,
  /^comfy_entrypoint in (.+?) (is not callable.*|did not return .*)$/,
] as const

/** Reads the messages of ComfyUI's log (nodes.py, init_external_custom_nodes). */
export function parseImports(messages: readonly string[]): ImportReport {
  const lines = messages.join('').split('\n')
  const reasons = new Map(
    lines.flatMap((line, index) => toReason(line, lines.slice(Math.max(0, index - TRACEBACK_LINES), index))),
  )
  const start = lines.findIndex((line) => line.includes(HEADER))
  const timed = lines.slice(start + 1).flatMap((line) => {
    const match = TIMED.exec(line)
    return match?.[2] === undefined ? [] : [{ path: match[2], hasFailed: match[1] === FAILED }]
  })
  const failures = timed
    .filter(({ hasFailed }) => hasFailed)
    .map(({ path }) => ({ name: nodeName(path), path, reason: reasons.get(path) }))
  const imported = timed.filter(({ hasFailed }) => !hasFailed).map(({ path }) => nodeName(path))
  return { isComplete: start >= 0, imported, failures }
}

/** Wanted nodes that ComfyUI never tried to import; none where its list was not found. */
export function findMissing(report: ImportReport, wanted: readonly string[]): readonly ImportFailure[] {
  if (!report.isComplete) return []
  const tried = new Set([...report.imported, ...report.failures.map(({ name }) => name)])
  return wanted
    .filter((name) => !tried.has(name))
    .map((name) => ({ name, path: '', reason: 'ComfyUI found no such node and did not try to import it' }))
}

/** One sentence that names the nodes and why they failed. */
export function describeFailures(failures: readonly ImportFailure[]): string {
  return failures.map(({ name, reason }) => (reason === undefined ? name : `${name}: ${reason}`)).join('; ')
}

/** A node that could not be imported as a gap, with what to do about its exception. */
export function importGap({ name, reason }: ImportFailure, node: Pick<ExpectedNode, 'requirements'>): Gap {
  const hint = reason === undefined ? undefined : hintOf(name, reason, node.requirements)
  const why = reason ?? 'the log of ComfyUI no longer holds the exception'
  const error = new MachineError('CM1902', `custom node ${name}: ${why}`, hint === undefined ? {} : { hint })
  return { component: `custom node ${name}`, error }
}

const MISSING_MODULE = /^ModuleNotFoundError: No module named ['"]([^'"]+)['"]/
const MISSING_NAME = /^ImportError: cannot import name ['"]([^'"]+)['"] from ['"]([^'"]+)['"]/
const MISSING_LIBRARY = /^ImportError: ([^\s:/]+\.so[.\d]*): cannot open shared object file/

function hintOf(name: string, reason: string, hasRequirements: boolean): string | undefined {
  const module = MISSING_MODULE.exec(reason)?.[1]
  if (module !== undefined) {
    const where = hasRequirements
      ? `to the requirements of ${name}`
      : `to the requirements of ${name}, and set requirements of the node, without which they are not installed`
    return `Add the package that has the Python module ${module.split('.')[0]} ${where}.`
  }
  const [, symbol, from] = MISSING_NAME.exec(reason) ?? []
  if (symbol !== undefined)
    return `Pin a version of the package that has the Python module ${from} with ${symbol} in the requirements of ${name}.`
  const library = MISSING_LIBRARY.exec(reason)?.[1]
  return library === undefined ? undefined : `Install the system package that has ${library}.`
}

// How far a traceback is looked through for the line that names its exception.
const TRACEBACK_LINES = 400

/** ComfyUI names only the text of an exception; its type is in the last line of the traceback that is logged before. */
function toReason(line: string, before: readonly string[]): [string, string][] {
  for (const pattern of REASON) {
    const match = pattern.exec(line)
    if (match?.[1] === undefined || match[2] === undefined) continue
    const text = match[2]
    const isTraced = pattern === REASON[0]
    const type = isTraced ? before.map((each) => typeOf(each, text)).findLast((each) => each !== undefined) : undefined
    return [[match[1], type === undefined ? text : text === '' ? type : `${type}: ${text}`]]
  }
  return []
}

function typeOf(line: string, text: string): string | undefined {
  const [, type, said] = /^([A-Za-z_][\w.]*)(?:: (.*))?$/.exec(line) ?? []
  return (said ?? '') === text ? type : undefined
}

function nodeName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.py$/, '')
}
