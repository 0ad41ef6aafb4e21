import { join } from 'node:path'
import { placesOf, pointerOf, pointerTo } from '../plan/places.ts'
import { type PointerPlan, planPointers, type RolloutRecord } from '../plan/pointers.ts'
import { type InstallContext, note } from './context.ts'
import { type Generation, listPointers, readCurrent, readGeneration, readPointer, readRollout } from './generations.ts'

/** Points the machine at a generation while none of its ComfyUI runs, see `planPointers`. A killed run is repeated at the next start. */
export async function setPointers(context: InstallContext, { id }: Generation): Promise<PointerPlan> {
  const { files } = context.host
  const { workspace } = context.plan.paths
  const { home, current, next } = placesOf(workspace)
  const plan = planPointers({
    current: (await readCurrent(context))?.id,
    wanted: id,
    rollout: await readUsableRollout(context),
    gpus: context.plan.instances.map(({ gpu }) => gpu),
  })
  for (const [gpu, generation] of plan.gpus) await point(context, pointerOf(workspace, gpu), generation)
  for (const gpu of await listPointers(context)) if (!plan.gpus.has(gpu)) await files.remove(join(home, gpu))
  await point(context, current, plan.current)
  if (plan.next === null) await files.remove(next)
  else await point(context, next, plan.next)
  if (plan.how !== 'same') note(context, SAID[plan.how](plan), plan.how === 'rejected' ? 'warning' : 'info')
  return plan
}

/** What is known of generations; the machine is not held on one that is gone. */
async function readUsableRollout(context: InstallContext): Promise<RolloutRecord> {
  const { pinned, ...rest } = await readRollout(context)
  const isThere = pinned !== undefined && (await readGeneration(context, pinned.generation)) !== undefined
  return isThere ? { ...rest, pinned } : rest
}

async function point(context: InstallContext, pointer: string, generation: string): Promise<void> {
  if ((await readPointer(context, pointer)) === generation) return
  await context.host.files.link(pointerTo(generation), pointer)
}

type Sentence = (plan: PointerPlan) => string

const SAID: Readonly<Record<Exclude<PointerPlan['how'], 'same'>, Sentence>> = {
  first: ({ current }) => `the machine goes on generation ${current}`,
  proven: ({ current }) => `the machine goes on generation ${current}, which ran here before`,
  canary: ({ current, next, gpus }) =>
    `${[...gpus.keys()][0]} tries generation ${next}; the others stay on ${current} until it has proved itself`,
  rejected: ({ current, next }) => `generation ${next} was tried and sent back: the machine stays on ${current}`,
  pinned: ({ current }) => `the machine was rolled back to generation ${current} and stays there`,
}
