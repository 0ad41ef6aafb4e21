import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import { placesOf } from '../plan/places.ts'
import { type InstallContext, note } from './context.ts'
import { chooseObsolete, isGenerationId } from './generation.ts'
import { listGenerations, listNamed, readGeneration, readPointer, readRollout } from './generations.ts'

const KEPT = 2
const TRASH = '.trash-'

/**
 * Removes generations that nobody needs: never one that a pointer names, nor the one to roll back to, and two stay. What
 * cannot be removed is told and left.
 */
export async function collectGenerations(context: InstallContext): Promise<void> {
  const { nodeEnv } = placesOf(context.plan.paths.workspace)
  const whole = await listGenerations(context)
  const { previous, pinned } = await readRollout(context)
  // Read last: what a builder is about to make has its pointer before it has its directory.
  const pointed = await listNamed(context, 'all')
  const named = new Set([...pointed, previous, pinned?.generation].filter((id) => typeof id === 'string'))
  const obsolete = chooseObsolete(whole, named, KEPT)
  for (const id of obsolete) {
    await trash(context, id)
    note(context, `generation ${id} is removed: ${KEPT} newer ones are there`)
  }
  await emptyTrash(context)
  const kept = whole.filter(({ id }) => !obsolete.includes(id))
  if ([...pointed].some((id) => !kept.some((each) => each.id === id))) return
  const wanted = new Set(kept.flatMap(({ lock }) => lock.nodes.map(({ name }) => `${name}.env`)))
  for (const name of await context.host.files.list(nodeEnv)) {
    if (name.endsWith('.env') && !wanted.has(name)) await context.host.files.remove(join(nodeEnv, name))
  }
}

/** Removes what builds have left that did not come to their end, but for the spared. None may be going on. */
export async function removeUnfinished(context: InstallContext, spared: ReadonlySet<string>): Promise<void> {
  const { files } = context.host
  const { generations, staging, next } = placesOf(context.plan.paths.workspace)
  const ids = (await files.list(generations)).filter((name) => isGenerationId(name) && !spared.has(name))
  for (const id of ids) if ((await readGeneration(context, id)) === undefined) await trash(context, id)
  const building = await readPointer(context, next)
  if (building !== undefined && (await readGeneration(context, building)) === undefined) await files.remove(next)
  if ((await files.lstat(staging)) !== undefined) await trash(context, '.staging')
  await emptyTrash(context)
}

/** Puts the directory of a generation out of the way in one step. */
async function trash({ plan, host }: InstallContext, name: string): Promise<void> {
  const { generations } = placesOf(plan.paths.workspace)
  await host.files.rename(join(generations, name), join(generations, `${TRASH}${name}-${host.clock.nowUs()}`))
}

async function emptyTrash(context: InstallContext): Promise<void> {
  const { files } = context.host
  const { generations } = placesOf(context.plan.paths.workspace)
  for (const name of await files.list(generations)) {
    if (!name.startsWith(TRASH)) continue
    try {
      await files.remove(join(generations, name))
    } catch (error) {
      note(context, `${join(generations, name)} cannot be removed: ${messageOf(error)}`, 'warning')
    }
  }
}
