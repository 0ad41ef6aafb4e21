import { join } from 'node:path'
import type { Git } from '../host/install-ports.ts'
import { placesOf } from '../plan/places.ts'
import { type FetchedSource, isWantedSource, readSource, resolveSource, writeSource } from './comfyui-source.ts'
import { withoutUser } from './component-safety.ts'
import { type InstallContext, note, parseRecord, progress, reportFacts } from './context.ts'
import { listGenerations, lockedSource, readCurrent } from './generations.ts'
import type { LockedSource, MachineLock } from './machine-lock.ts'
import { renderModelPaths } from './model-paths.ts'
import { carryOut, pieceOfStep } from './pieces.ts'

/** What the ComfyUI installer has beside its context; opened only when something is to be done. */
export interface ComfyUITools {
  readonly git: Git
}

/**
 * Step 14: which commit ComfyUI is at, resolved once, and the source of it in its mirror. A commit that a whole generation
 * has is not fetched again. Where a lock is installed it decides, and step 17 reads it.
 */
export async function installComfyUI(context: InstallContext, open: () => Promise<ComfyUITools>): Promise<void> {
  const { plan, host } = context
  const { generations } = placesOf(plan.paths.workspace)
  await host.files.makeDirectory(generations)
  await writeModelPaths(context)
  if (plan.components.lockFile !== null) return reportLock(context, plan.components.lockFile)
  const known = await chooseSource(context)
  if (known?.isBuilt === true) {
    await writeSource(context, known.source)
    return reportSource(context, known.source, true)
  }
  const { git } = await open()
  const url = withoutUser(plan.comfyui.repoUrl)
  progress(context, `fetching ComfyUI from ${url}`, { done: 0, total: 1, current: ['fetch'] })
  const { source } = await carryOut(
    context,
    pieceOfStep(context, 'fetch', 'CM1401', { 'git.url': url }),
    () => fetchSource(context, git, known?.source),
    ({ source: { commit, resolved }, mirror }) => ({
      'git.commit': commit,
      'git.ref': resolved,
      'git.mirror': mirror,
    }),
  )
  await writeSource(context, source)
  reportSource(context, source, false)
}

/** The source as it was resolved before: what the machine is on counts first, so that a rollback stays one. */
async function chooseSource(
  context: InstallContext,
): Promise<{ readonly source: LockedSource; readonly isBuilt: boolean } | undefined> {
  const current = (await readCurrent(context))?.lock.comfyui
  if (current !== undefined && isWantedSource(context, current)) return { source: current, isBuilt: true }
  const recorded = await readSource(context)
  const locks = (await listGenerations(context)).map(({ lock }) => lock)
  if (recorded !== undefined) {
    const isBuilt = locks.some(
      ({ comfyui }) => comfyui.repoUrl === recorded.repoUrl && comfyui.commit === recorded.commit,
    )
    return { source: recorded, isBuilt }
  }
  const locked = lockedSource(locks, context.plan.comfyui)
  return locked === undefined ? undefined : { source: locked, isBuilt: true }
}

async function fetchSource(context: InstallContext, git: Git, known: LockedSource | undefined): Promise<FetchedSource> {
  if (known === undefined) return resolveSource(context, git)
  const { mirror } = await git.fetch(known.repoUrl, { commit: known.commit })
  return { source: known, mirror }
}

async function writeModelPaths({ plan, host }: InstallContext): Promise<void> {
  const path = join(placesOf(plan.paths.workspace).home, 'extra_model_paths.yaml')
  const text = renderModelPaths(plan.paths.models)
  if ((await host.files.readText(path)) !== text) await host.files.writeText(path, text)
}

function reportSource(context: InstallContext, { resolved, commit }: LockedSource, reused: boolean): void {
  reportFacts(context, { 'comfyui.commit': commit, 'comfyui.ref': resolved, 'comfyui.reused': reused })
  const what = `ComfyUI ${resolved} (${commit.slice(0, 10)})`
  note(context, reused ? `${what} is there` : `${what} is fetched`)
  context.host.notify.status(reused ? `${what} is there` : `${what} fetched`)
}

async function reportLock(context: InstallContext, file: string): Promise<void> {
  const lock = parseRecord<MachineLock>(await context.host.files.readText(file))
  if (lock?.comfyui !== undefined) return reportSource(context, lock.comfyui, true)
  note(context, `${file} decides over ComfyUI`)
}
