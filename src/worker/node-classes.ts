import { MachineError } from '../errors.ts'
import type { EvidenceDocument } from './evidence-document.ts'
import type { ExpectedNode } from './expected.ts'
import type { Gap } from './gap.ts'

/** What a ComfyUI offers. */
export interface OfferedClasses {
  /** Names of all classes. */
  readonly all: ReadonlySet<string>
  /** Names of the classes of each custom node, sorted. */
  readonly byNode: ReadonlyMap<string, readonly string[]>
  /** Custom nodes that add scripts to the page. */
  readonly web: ReadonlySet<string>
}

const MODULE = /^custom_nodes\.(.+)$/
const EXTENSION = /^\/extensions\/([^/]+)\//

/** Reads the answers of `GET /object_info` (upstream server.py, node_info) and `GET /extensions`. */
export function parseOffered(objectInfo: unknown, extensions: readonly string[] = []): OfferedClasses {
  const classes = Object.entries(typeof objectInfo === 'object' && objectInfo !== null ? objectInfo : {})
  const byNode = new Map<string, string[]>()
  for (const [name, info] of classes) {
    const module: unknown = (info as { readonly python_module?: unknown } | null)?.python_module
    const node = typeof module === 'string' ? MODULE.exec(module)?.[1] : undefined
    if (node !== undefined) byNode.set(node, [...(byNode.get(node) ?? []), name])
  }
  for (const names of byNode.values()) names.sort()
  const web = extensions.flatMap((path) => EXTENSION.exec(path)?.[1] ?? []).map(decodeLenient)
  return { all: new Set(classes.map(([name]) => name)), byNode, web: new Set(web) }
}

/** Classes that a node was seen with at this commit at earlier starts of this machine, sorted. */
export function seenClasses(node: ExpectedNode, earlier: readonly EvidenceDocument[]): readonly string[] {
  const same = earlier
    .flatMap(({ nodes }) => nodes)
    .filter(({ name, commit }) => name === node.name && commit !== null && commit === node.commit)
  return [...new Set(same.flatMap(({ seen }) => seen))].sort()
}

/** Wanted classes that are not offered. A class that another node offers under the same name is there. */
export function missingClasses(wanted: readonly string[], offered: OfferedClasses): readonly string[] {
  return wanted.filter((name) => !offered.all.has(name))
}

/** Missing classes of a node as a gap. */
export function classGap(node: ExpectedNode, missing: readonly string[]): Gap {
  const component = `custom node ${node.name}`
  const message = `${component}: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not in /object_info`
  const isAnnounced = missing.every((name) => node.classes.includes(name))
  const otherwise = isAnnounced
    ? 'or correct node_classes of the node, which names them'
    : 'the node was seen with them at this commit, which instances/*/evidence below WORKSPACE_PATH remembers'
  const hint = `Look for the reason in the lines of ComfyUI; ${otherwise}.`
  return { component, error: new MachineError('CM1903', message, { hint }) }
}

function decodeLenient(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return text
    throw error
  }
}
