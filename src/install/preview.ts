import type { ModelChange } from '../models/preview-models.ts'
import type { WantedNode } from './components.ts'
import type { LockedNode, MachineLock } from './machine-lock.ts'

/** What happens to a part of the machine. */
export type Change = 'same' | 'add' | 'update' | 'remove'

/** One custom node as it is and as it is to be. */
export interface NodeChange {
  readonly name: string
  readonly change: Change
  readonly url: string
  /** Commit that is installed. */
  readonly from: string | null
  /** Commit that is wanted; null when a fetch decides over it. */
  readonly to: string | null
  /** clone: nothing of it is in the cache. fetch: the cache has its repository, not yet the commit. */
  readonly source: 'nothing' | 'cache' | 'fetch' | 'clone'
}

/** What an installation now would do, without the units. */
export interface Preview {
  readonly comfyui: { readonly change: Change; readonly from: string | null; readonly to: string }
  readonly nodes: readonly NodeChange[]
  /** same: the environment stays. resolve: all requirements together. locked: as the lock says. */
  readonly requirements: 'same' | 'resolve' | 'locked'
  /** A generation is built, and every ComfyUI is moved to it. */
  readonly isNewGeneration: boolean
  readonly models: readonly ModelChange[]
  readonly downloadBytes: number
  /** Models whose size nobody tells. */
  readonly unknownSizes: number
}

/** The volume that models go to. */
export interface DiskPreview {
  readonly path: string
  readonly neededBytes: number
  readonly freeBytes: number
  readonly neededInodes: number
  readonly freeInodes: number
  readonly fits: boolean
}

/** What an installation now would change, and whether there is room for it. */
export interface InstallationPreview extends Preview {
  /** Id of the generation that the machine is on. */
  readonly generation: string | null
  readonly disk: DiskPreview
}

/** What is known of the host, gathered before. */
export interface PreviewFacts {
  readonly lock: MachineLock | undefined
  readonly comfyui: { readonly repoUrl: string; readonly ref: string | null }
  readonly nodes: readonly WantedNode[]
  /** The wish is the one that the lock was made of. */
  readonly isSameWish: boolean
  readonly isLocked: boolean
  /** Commits that the cache has, by URL. */
  readonly mirrors: ReadonlyMap<string, readonly string[]>
  readonly models: readonly ModelChange[]
}

/** Compares what is wanted with what is installed. */
export function previewChanges(facts: PreviewFacts): Preview {
  const { lock, isSameWish, models } = facts
  return {
    comfyui: comfyuiChange(facts),
    nodes: nodeChanges(facts),
    requirements: isSameWish ? 'same' : facts.isLocked ? 'locked' : 'resolve',
    isNewGeneration: lock === undefined || !isSameWish,
    models,
    downloadBytes: models.reduce((sum, { bytes }) => sum + (bytes ?? 0), 0),
    unknownSizes: models.filter(({ action, bytes }) => action === 'download' && bytes === null).length,
  }
}

/** True when an installation now would change nothing. */
export function isUnchanged({ isNewGeneration, models }: Preview): boolean {
  return !isNewGeneration && models.length === 0
}

function comfyuiChange({ lock, comfyui }: PreviewFacts): Preview['comfyui'] {
  const to = comfyui.ref ?? 'the latest release'
  if (lock === undefined) return { change: 'add', from: null, to }
  const { repoUrl, ref, resolved, commit } = lock.comfyui
  const from = `${resolved} (${commit.slice(0, 10)})`
  const isSame = repoUrl === comfyui.repoUrl && ref === comfyui.ref
  return isSame ? { change: 'same', from, to: from } : { change: 'update', from, to }
}

function nodeChanges({ lock, nodes, mirrors }: PreviewFacts): readonly NodeChange[] {
  const installed = new Map((lock?.nodes ?? []).map((node) => [node.name, node]))
  const wanted = new Set(nodes.map(({ name }) => name))
  const removed = [...installed.values()]
    .filter(({ name }) => !wanted.has(name))
    .map(
      ({ name, url, commit }): NodeChange => ({
        ...{ name, change: 'remove', url, from: commit, to: null, source: 'nothing' },
      }),
    )
  return [...nodes.map((node) => nodeChange(node, installed.get(node.name), mirrors)), ...removed]
}

function nodeChange(node: WantedNode, installed: LockedNode | undefined, mirrors: PreviewFacts['mirrors']): NodeChange {
  const { name, url, branch, commit } = node
  const keepsHead = installed?.url === url && installed.branch === branch
  const to = commit ?? (keepsHead ? installed.commit : null)
  const common = { name, url, from: installed?.commit ?? null, to }
  const isSame = installed !== undefined && to === installed.commit && keyOf(node) === keyOf(installed)
  if (isSame) return { ...common, change: 'same', source: 'nothing' }
  const cached = mirrors.get(url) ?? []
  const source = to !== null && cached.includes(to) ? 'cache' : cached.length > 0 ? 'fetch' : 'clone'
  return { ...common, change: installed === undefined ? 'add' : 'update', source }
}

/** What of a node is part of a generation beside its commit. */
function keyOf({ url, recursive, requirements, env, customScript }: WantedNode): string {
  return JSON.stringify([url, recursive, requirements, env, customScript])
}
