import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { FetchedRevision, Git } from '../host/install-ports.ts'
import { withoutUser } from './component-safety.ts'
import { type InstallContext, mapLimited, note } from './context.ts'
import type { LockedSource } from './machine-lock.ts'
import type { NodeProgress } from './node-progress.ts'
import { attempt, type NodeWork, nodeFields } from './node-work.ts'
import { carryOut, pieceOfStep } from './pieces.ts'

const FETCHED_AT_ONCE = 16

/** What is to be checked out and where. */
export interface Staging {
  readonly directory: string
  readonly source: LockedSource
  readonly works: readonly NodeWork[]
  /** The commit that an unpinned node is at; undefined to ask its remote. */
  readonly headOf: (work: NodeWork) => string | undefined
}

/** Fetches ComfyUI and the nodes side by side and checks them out as one tree. A node that fails does not stop the others. */
export async function stageSources(
  context: InstallContext,
  git: Git,
  staging: Staging,
  progress: NodeProgress,
): Promise<void> {
  const { directory, works } = staging
  const { files } = context.host
  await files.makeDirectory(directory)
  progress.begin(works.length, (done) => `${done}/${works.length} custom nodes fetched`)
  const comfyui = stageComfyUI(context, git, staging)
  const nodes = mapLimited(works, FETCHED_AT_ONCE, async (work) => {
    const { node, pieces } = work
    const place = join(directory, 'custom_nodes', node.name)
    const attributes = { 'git.url': withoutUser(node.url) }
    const piece = { name: 'clone', code: 'CM1701' as const, attributes, add: pieces.push.bind(pieces) }
    progress.enter(node.name)
    const clone = async (): Promise<FetchedRevision> => {
      const fetched = await fetchNode(context, git, work, staging.headOf(work))
      await comfyui
      await files.remove(place)
      await git.checkout(node.url, fetched.commit, place, { recursive: node.recursive })
      return fetched
    }
    await attempt(context, work, async () => {
      const { commit } = await carryOut(context, piece, clone, (fetched) => ({
        'git.commit': fetched.commit,
        'git.mirror': fetched.mirror,
      }))
      work.commit = commit
    })
    progress.leave(node.name)
  })
  const [first, second] = await Promise.allSettled([comfyui, nodes])
  if (first.status === 'rejected') throw first.reason
  if (second.status === 'rejected') throw second.reason
}

async function stageComfyUI(context: InstallContext, git: Git, { source, directory }: Staging): Promise<void> {
  const attributes = { 'git.url': withoutUser(source.repoUrl), 'git.commit': source.commit }
  await carryOut(context, pieceOfStep(context, 'checkout', 'CM1401', attributes), async () => {
    try {
      await git.fetch(source.repoUrl, { commit: source.commit })
      await git.checkout(source.repoUrl, source.commit, directory, { recursive: false })
    } catch (error) {
      if (!(error instanceof MachineError)) throw error
      throw new MachineError('CM1401', error.message, { cause: error, type: error.type, hint: error.hint })
    }
  })
}

async function fetchNode(
  context: InstallContext,
  git: Git,
  { node }: NodeWork,
  head: string | undefined,
): Promise<FetchedRevision> {
  const { url, commit, branch, recursive } = node
  const fromRemote = (): Promise<FetchedRevision> => git.fetch(url, { commit, ref: branch }, { recursive })
  if (commit !== null || head === undefined) return fromRemote()
  try {
    return await git.fetch(url, { commit: head }, { recursive })
  } catch (error) {
    if (!(error instanceof MachineError) || error.code !== 'CM1702') throw error
    const message = `custom node ${node.name}: ${head.slice(0, 10)} is gone; ${branch ?? 'HEAD'} is asked for anew`
    note(context, message, 'warning', nodeFields(context, node))
    return fromRemote()
  }
}
