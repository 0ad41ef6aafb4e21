import { join } from 'node:path'
import type { FetchedRevision, Git } from '../host/install-ports.ts'
import type { WantedNode } from './components.ts'
import { type InstallContext, parseRecord } from './context.ts'
import { NODE_RECORD, type NodeAction, type NodeRecord, sourceKey } from './node-plan.ts'

/** Directories of the custom nodes. Nothing but whole nodes is in `nodes`: ComfyUI tries to import all it finds there. */
export interface NodePlaces {
  readonly nodes: string
  readonly staging: string
  readonly removed: string
}

/** Where the nodes of a workspace are; all on one file system. */
export function nodePlaces(workspace: string): NodePlaces {
  return {
    nodes: join(workspace, 'custom_nodes'),
    staging: join(workspace, 'custom_nodes.staging'),
    removed: join(workspace, 'custom_nodes.removed'),
  }
}

/** The record of a node that is in place; undefined when it is not there or not of this machine. */
export async function readNodeRecord(context: InstallContext, directory: string): Promise<NodeRecord | undefined> {
  return parseRecord<NodeRecord>(await context.host.files.readText(join(directory, NODE_RECORD)))
}

/** Writes the record; 0600, because its hash covers values of secrets. */
export function writeNodeRecord(context: InstallContext, directory: string, record: NodeRecord): Promise<void> {
  return context.host.files.writeText(join(directory, NODE_RECORD), `${JSON.stringify(record)}\n`, { mode: 0o600 })
}

/** A node whose files are in place, and whether its mirror had them already. */
export interface PlacedNode {
  readonly record: NodeRecord
  readonly mirror: FetchedRevision['mirror']
}

/** Brings the files of a node in place and returns its record; a killed run leaves either the old or no directory, or an open record. */
export async function placeNode(
  context: InstallContext,
  git: Git,
  places: NodePlaces,
  node: WantedNode,
  action: NodeAction,
): Promise<PlacedNode> {
  const { files } = context.host
  const directory = join(places.nodes, node.name)
  const { commit, mirror } = await git.fetch(node.url, { commit: node.commit, ref: node.branch })
  const record: NodeRecord = { schema: 1, name: node.name, url: node.url, source: sourceKey(node), commit, content: '' }
  if (action === 'update') {
    await writeNodeRecord(context, directory, { ...record, source: '' })
    await git.checkout(node.url, commit, directory, { recursive: node.recursive })
    await writeNodeRecord(context, directory, record)
    return { record, mirror }
  }
  const staged = join(places.staging, node.name)
  await files.remove(staged)
  await git.checkout(node.url, commit, staged, { recursive: node.recursive })
  await files.makeDirectory(join(staged, '.git', 'info'))
  await files.writeText(join(staged, '.git', 'info', 'exclude'), `/${NODE_RECORD}\n/.env\n__pycache__/\n`)
  await writeNodeRecord(context, staged, record)
  await moveAside(context, places, node.name)
  await files.rename(staged, directory)
  return { record, mirror }
}

/** Moves a node's directory out of ComfyUI's sight; an older one of the same name makes room. */
export async function moveAside(context: InstallContext, places: NodePlaces, name: string): Promise<void> {
  const { files } = context.host
  const directory = join(places.nodes, name)
  if ((await files.lstat(directory)) === undefined) return
  await files.makeDirectory(places.removed)
  await files.remove(join(places.removed, name))
  await files.rename(directory, join(places.removed, name))
}
