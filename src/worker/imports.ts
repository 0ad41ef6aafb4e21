/** A custom node that ComfyUI could not import. */
export interface ImportFailure {
  /** Name of its directory, or of its file without `.py`. */
  readonly name: string
  readonly path: string
  /** ComfyUI's line with the exception; undefined when the log no longer holds it. */
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
  const reasons = new Map(lines.flatMap(toReason))
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

/** Splits failures into those of wanted nodes and others. */
export function splitByWanted(
  failures: readonly ImportFailure[],
  wanted: readonly string[],
): { readonly wanted: readonly ImportFailure[]; readonly others: readonly ImportFailure[] } {
  const names = new Set(wanted)
  return {
    wanted: failures.filter(({ name }) => names.has(name)),
    others: failures.filter(({ name }) => !names.has(name)),
  }
}

/** One sentence that names the nodes and why they failed. */
export function describeFailures(failures: readonly ImportFailure[]): string {
  return failures.map(({ name, reason }) => (reason === undefined ? name : `${name}: ${reason}`)).join('; ')
}

/** Names of the nodes in `components.json`; empty when there is none. */
export function wantedNodes(components: string | undefined): readonly string[] {
  if (components === undefined) return []
  const { nodes } = JSON.parse(components) as { nodes?: readonly { readonly name?: unknown }[] }
  return (nodes ?? []).flatMap(({ name }) => (typeof name === 'string' ? [name] : []))
}

function toReason(line: string): [string, string][] {
  for (const pattern of REASON) {
    const match = pattern.exec(line)
    if (match?.[1] !== undefined && match[2] !== undefined) return [[match[1], match[2]]]
  }
  return []
}

function nodeName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1).replace(/\.py$/, '')
}
