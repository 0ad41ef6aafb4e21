import { join } from 'node:path'
import type { PythonEnvironments, RequirementsFile, Resolution } from '../host/install-ports.ts'
import { createHeartbeat, type InstallContext, note, reportChild, spanOf } from './context.ts'
import type { NodeProgress } from './node-progress.ts'
import { type NodeWork, namingNode } from './node-work.ts'
import { explainConflict, type FailedResolution, type ResolutionFault } from './requirement-conflict.ts'

const RESOLVE_ALL = 'resolve requirements'

/** What all requirement files came to. */
export type ResolvedPackages = Extract<Resolution, { readonly ok: true }>

/** Finds the requirements files that count in a staged generation. */
export async function findRequirements(
  { host }: InstallContext,
  works: readonly NodeWork[],
  directory: string,
): Promise<void> {
  for (const work of works) {
    const path = join(directory, 'custom_nodes', work.node.name, 'requirements.txt')
    const isThere = work.node.requirements && (await host.files.lstat(path)) !== undefined
    work.requirements = isThere ? path : undefined
  }
}

/** What `resolvePackages` works with. */
export interface Resolving {
  readonly python: PythonEnvironments
  /** ComfyUI's requirements file; undefined where it has none. */
  readonly common: string | undefined
  readonly works: readonly NodeWork[]
  readonly progress: NodeProgress
  /** Leave out the nodes that do not go together with those before them, instead of failing. */
  readonly mayLeaveOut: boolean
}

/** Resolves all requirement files together; nothing is installed. Throws CM1703, CM1706 or CM1707. */
export async function resolvePackages(context: InstallContext, resolving: Resolving): Promise<ResolvedPackages> {
  const { python, works, progress, mayLeaveOut } = resolving
  for (;;) {
    const going = works.filter(({ error }) => error === undefined)
    const wanting = going.filter(({ requirements }) => requirements !== undefined)
    const text = `resolving the Python packages of ${wanting.length} custom nodes with ${python.installer}`
    progress.begin(wanting.length, () => text)
    const startUs = context.host.clock.nowUs()
    const all = filesOf(resolving, wanting)
    const resolution = await python.resolve(all)
    const fault = resolution.ok ? undefined : await explain(context, resolving, all, resolution)
    const error = fault?.error
    const attributes = { 'resolve.nodes': wanting.length, 'resolve.installer': python.installer }
    reportChild(context, {
      name: RESOLVE_ALL,
      startUs,
      state: error === undefined ? 'done' : 'failed',
      attributes: {
        ...attributes,
        'resolve.outcome': resolution.ok ? 'together' : resolution.reason,
        ...(resolution.ok ? { 'resolve.packages': resolution.packages } : {}),
      },
      ...(error === undefined ? {} : { error }),
    })
    if (resolution.ok) return resolution
    if (error === undefined) continue
    const culprit = mayLeaveOut ? wanting.findLast((work) => fault?.owners.includes(ownerOf(work))) : undefined
    if (culprit === undefined) throw error
    culprit.error = namingNode(culprit.node.name, error)
    note(context, `${error.message}; custom node ${culprit.node.name} is left out`, 'warning', {
      SPAN_ID: spanOf(context, RESOLVE_ALL),
    })
  }
}

function explain(
  { host }: InstallContext,
  { python, progress }: Resolving,
  files: readonly RequirementsFile[],
  failed: FailedResolution,
): Promise<ResolutionFault> {
  progress.begin(1, () => 'finding out which requirements contradict each other')
  const beat = createHeartbeat(host)
  return explainConflict({ python, files: host.files, onTry: beat }, files, failed)
}

const ownerOf = ({ node }: NodeWork): string => `custom node ${node.name}`

function filesOf({ common }: Resolving, works: readonly NodeWork[]): readonly RequirementsFile[] {
  const first = common === undefined ? [] : [{ owner: 'ComfyUI', path: common }]
  const own = works.flatMap((work): readonly RequirementsFile[] =>
    work.requirements === undefined ? [] : [{ owner: ownerOf(work), path: work.requirements }],
  )
  return [...first, ...own]
}
