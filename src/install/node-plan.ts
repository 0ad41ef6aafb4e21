import type { WantedNode } from './components.ts'

/** `.comfy-machine.json` within a node that this machine installed. */
export interface NodeRecord {
  readonly schema: 1
  readonly name: string
  readonly url: string
  /** What was asked for of the repository, see `sourceKey`; empty while the files are being changed. */
  readonly source: string
  /** The commit that is checked out. */
  readonly commit: string
  /** Hash of everything that went into the installation, see `contentKey`; empty until it is whole. */
  readonly content: string
}

/** Name of the record in the node's directory; it is listed in `.git/info/exclude`. */
export const NODE_RECORD = '.comfy-machine.json'

/**
 * What is to be done for a node. `keep`: nothing. `set-up`: its files are there, packages and scripts are not. `update`: other
 * files in place, so that what the node downloaded stays. `place`: a new directory; what stood there is moved aside.
 */
export type NodeAction = 'keep' | 'set-up' | 'update' | 'place'

/** What decides over the files of a node. */
export function sourceKey(node: WantedNode): string {
  return JSON.stringify([node.url, node.branch, node.commit, node.recursive])
}

/** What decides over the whole installation of a node; `environment` names the Python environment it goes into. */
export function contentKey(node: WantedNode, values: Readonly<Record<string, string>>, environment: string): string {
  return JSON.stringify([1, sourceKey(node), node.requirements, values, node.customScript, environment])
}

/** Decides over one node; `content` is the hash of its content key. */
export function planNode(record: NodeRecord | undefined, node: WantedNode, content: string): NodeAction {
  if (record === undefined || record.name !== node.name || record.url !== node.url) return 'place'
  if (record.source !== sourceKey(node)) return 'update'
  return record.content === content ? 'keep' : 'set-up'
}

/** Names of nodes that this machine installed and that nobody wants any more. */
export function chooseRemoved(
  installed: readonly { readonly name: string; readonly record: NodeRecord | undefined }[],
  wanted: readonly WantedNode[],
): readonly string[] {
  const names = new Set(wanted.map(({ name }) => name))
  return installed.filter(({ name, record }) => record?.name === name && !names.has(name)).map(({ name }) => name)
}
