import { join } from 'node:path'
import { COMPLETE_FILE, LOCK_FILE, placesOf, pointerOf } from '../plan/places.ts'
import type { RolloutRecord } from '../plan/pointers.ts'
import { parseRollout } from '../plan/rollout-record.ts'
import type { WantedNode } from './components.ts'
import { type InstallContext, parseRecord } from './context.ts'
import { type CompleteRecord, isGenerationId } from './generation.ts'
import type { LockedSource, MachineLock } from './machine-lock.ts'

/** A whole generation on this host. */
export interface Generation {
  readonly id: string
  readonly directory: string
  readonly lock: MachineLock
  readonly completeMs: number
}

/** A generation by its id; undefined when it is not whole or something of it is gone. */
export async function readGeneration({ plan, host }: InstallContext, id: string): Promise<Generation | undefined> {
  const { files } = host
  const directory = join(placesOf(plan.paths.workspace).generations, id)
  const marker = join(directory, COMPLETE_FILE)
  const complete = parseRecord<CompleteRecord>(await files.readText(marker))
  if (complete?.generation !== id) return undefined
  const lock = parseRecord<MachineLock>(await files.readText(join(directory, LOCK_FILE)))
  const parts = [join(directory, 'main.py'), join(directory, 'venv', 'bin', 'python'), marker]
  const [program, python, stat] = await Promise.all(parts.map((path) => files.stat(path)))
  if (lock === undefined || program === undefined || python === undefined || stat === undefined) return undefined
  return { id, directory, lock, completeMs: stat.mtimeMs }
}

/** Every whole generation, newest first; those that were sent back come last. */
export async function listGenerations(context: InstallContext): Promise<readonly Generation[]> {
  const { rejected } = await readRollout(context)
  const names = await context.host.files.list(placesOf(context.plan.paths.workspace).generations)
  const all = await Promise.all(names.filter(isGenerationId).map((id) => readGeneration(context, id)))
  const rank = ({ id }: Generation): number => (Object.hasOwn(rejected, id) ? 1 : 0)
  return all
    .filter((each) => each !== undefined)
    .sort((a, b) => rank(a) - rank(b) || b.completeMs - a.completeMs || (a.id < b.id ? -1 : 1))
}

/** Id that a pointer names, whether it is there or not. */
export async function readPointer({ host }: InstallContext, pointer: string): Promise<string | undefined> {
  const target = await host.files.readLink(pointer)
  return target?.split('/').at(-1)
}

/** The generation that the machine is on; undefined when there is none or it is not whole. */
export async function readCurrent(context: InstallContext): Promise<Generation | undefined> {
  const id = await readPointer(context, placesOf(context.plan.paths.workspace).current)
  return id === undefined ? undefined : readGeneration(context, id)
}

/** Names of the GPUs that have a pointer, planned or not. */
export async function listPointers({ plan, host }: InstallContext): Promise<readonly string[]> {
  const { home } = placesOf(plan.paths.workspace)
  return (await host.files.list(home)).filter((name) => /^gpu\d+$/.test(name))
}

/** Every generation that a pointer names; those that are in use leave out the pointer `next`. */
export async function listNamed(context: InstallContext, which: 'all' | 'in use'): Promise<ReadonlySet<string>> {
  const { workspace } = context.plan.paths
  const { current, next } = placesOf(workspace)
  const gpus = (await listPointers(context)).map((gpu) => pointerOf(workspace, gpu))
  const pointers = which === 'all' ? [current, next, ...gpus] : [current, ...gpus]
  const named = await Promise.all(pointers.map((pointer) => readPointer(context, pointer)))
  return new Set(named.filter((id) => id !== undefined))
}

/** What the controller knows of generations. */
export async function readRollout({ plan, host }: InstallContext): Promise<RolloutRecord> {
  return parseRollout(await host.files.readText(placesOf(plan.paths.workspace).rollout))
}

/** The commit at which a branch, or a remote's HEAD, was locked before; the first lock that has it counts. */
export function lockedHead(locks: readonly MachineLock[], { url, branch }: WantedNode): string | undefined {
  const nodes = locks.flatMap((lock) => lock.nodes)
  return nodes.find((node) => !node.pinned && node.url === url && node.branch === branch)?.commit
}

/** The source of ComfyUI as it was locked before; the first lock that has it counts. */
export function lockedSource(
  locks: readonly MachineLock[],
  wanted: { readonly repoUrl: string; readonly ref: string | null },
): LockedSource | undefined {
  return locks
    .map(({ comfyui }) => comfyui)
    .find(({ repoUrl, ref }) => repoUrl === wanted.repoUrl && ref === wanted.ref)
}
