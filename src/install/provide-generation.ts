import { join } from 'node:path'
import { LOCK_FILE } from '../plan/places.ts'
import { type BuildTools, buildGeneration } from './build-generation.ts'
import type { Components } from './components.ts'
import { type InstallContext, note, reportFacts } from './context.ts'
import { type Generation, listGenerations, readCurrent, readGeneration } from './generations.ts'
import type { LockedNode, LockedSource, MachineLock } from './machine-lock.ts'
import { readVerified, withHashes } from './model-hashes.ts'
import { nodeEnv, writeEnvFiles } from './node-env.ts'
import { endChild, isWorthRetry, joinFailures, planWork, reportShortfalls } from './node-work.ts'
import { readInterpreter, type Wish, wishKey } from './wish.ts'

const MOST_TRIES = 3

/** What a generation is asked for with. */
export interface GenerationRequest {
  readonly components: Components
  readonly source: LockedSource
  readonly purpose: 'start' | 'update'
  readonly beforeComplete?: () => Promise<void>
}

/** The generation for a wish: one that is there, which takes milliseconds, or a new one. Tells of it in the report. */
export async function provideGeneration(
  context: InstallContext,
  open: () => Promise<BuildTools>,
  request: GenerationRequest,
): Promise<Generation> {
  const { plan, host } = context
  const { components, source, purpose } = request
  const { lock: locked, models, nodes } = components
  const wish: Wish = { source, nodes, interpreter: await readInterpreter(host.files, plan.environment) }
  const wishHash = locked?.wish ?? host.digest(wishKey(plan, wish))
  const before = await readCurrent(context)
  const there =
    locked !== undefined
      ? await readGeneration(context, locked.generation)
      : purpose === 'start'
        ? await findForWish(context, before, wishHash)
        : undefined
  if (there !== undefined) await keepGeneration(context, there)
  const build = { wish, wishHash, models, locked, purpose }
  const { beforeComplete } = request
  const generation =
    there ??
    (await buildGeneration(context, await open(), beforeComplete === undefined ? build : { ...build, beforeComplete }))
  reportGeneration(context, generation, before, nodes.length)
  return { ...generation, lock: await writeExpected(context, generation, components) }
}

/** A whole generation of the wish, the one that the machine is on first; undefined when building may come to another one. */
async function findForWish(
  context: InstallContext,
  current: Generation | undefined,
  wish: string,
): Promise<Generation | undefined> {
  const isFit = ({ lock }: Generation): boolean => {
    if (lock.wish !== wish || lock.leftOut.some(isWorthRetry)) return false
    if (lock.leftOut.some(({ code }) => code === 'CM1705')) return false
    const isDegraded = context.plan.components.failurePolicy === 'degraded'
    if (!isDegraded) return lock.leftOut.length === 0
    return lock.nodes.every((node) => nodeEnv(context, node).missing.length === 0)
  }
  if (current !== undefined && isFit(current)) return current
  return (await listGenerations(context)).find(isFit)
}

/** Nothing of it is built: what may have changed since are the values of its variables. Throws CM1705. */
async function keepGeneration(context: InstallContext, { lock }: Generation): Promise<void> {
  const works = lock.nodes.map((node) => ({ ...planWork(context, node), commit: node.commit }))
  for (const work of works) endChild(context, work, work.error === undefined ? 'skipped' : 'failed')
  const failure = joinFailures(works)
  if (failure !== undefined) throw failure
  await writeEnvFiles(context, lock.nodes)
}

/**
 * Models and classes of nodes are no part of the wish, so the lock of a generation is told of other ones. The installer of
 * models may verify some of them meanwhile and write their hashes there: once it is written it is looked at again.
 */
async function writeExpected(
  context: InstallContext,
  { directory, lock }: Generation,
  { models, nodes: wanted }: Components,
): Promise<MachineLock> {
  const { files } = context.host
  const nodes = lock.nodes.map(({ classes: _, ...node }): LockedNode => {
    const classes = wanted.find(({ name }) => name === node.name)?.classes
    return classes === undefined ? node : { ...node, classes }
  })
  const path = join(directory, LOCK_FILE)
  for (let tried = 1; ; tried++) {
    const changed = { ...lock, nodes, models: withHashes(models, await readVerified(context)) }
    const text = `${JSON.stringify(changed, null, 2)}\n`
    if (tried > MOST_TRIES || (await files.readText(path)) === text) return changed
    await files.writeText(path, text, { durable: true })
  }
}

function reportGeneration(
  context: InstallContext,
  { id, lock }: Generation,
  before: Generation | undefined,
  wanted: number,
): void {
  const old = new Map(before?.lock.nodes.map((node) => [node.name, keyOf(node)]))
  const installed = lock.nodes.filter((node) => old.get(node.name) !== keyOf(node)).length
  const unchanged = lock.nodes.length - installed
  const names = new Set(lock.nodes.map(({ name }) => name))
  reportFacts(context, {
    'comfyui.generation': id,
    'generation.reused': id === before?.id,
    'python.interpreter': lock.python.interpreter,
    'python.installer': lock.python.installer,
    'nodes.wanted': wanted,
    'nodes.installed': installed,
    'nodes.unchanged': unchanged,
    'nodes.failed': lock.leftOut.length,
    'nodes.removed': [...old.keys()].filter((name) => !names.has(name)).length,
  })
  reportShortfalls(context, lock.leftOut)
  const summary = `${installed} custom nodes installed, ${unchanged} unchanged, ${lock.leftOut.length} left out`
  note(context, `generation ${id}: ${summary}`)
  context.host.notify.status(summary)
}

const keyOf = ({ url, commit, recursive, requirements, env, customScript }: LockedNode): string =>
  JSON.stringify([url, commit, recursive, requirements, env, customScript])
