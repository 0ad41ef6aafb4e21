import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { Git } from '../host/install-ports.ts'
import { COMPLETE_FILE, LOCK_FILE, placesOf, pointerTo } from '../plan/places.ts'
import { removeUnfinished } from './collect.ts'
import type { WantedModel } from './components.ts'
import { type InstallContext, note } from './context.ts'
import { toDiskFull } from './disk-full.ts'
import { type FillTools, fillGeneration } from './fill-generation.ts'
import { type CompleteRecord, generationId, type LockContent } from './generation.ts'
import { type Generation, listGenerations, listNamed, lockedHead, readCurrent, readGeneration } from './generations.ts'
import type { LockedNode, MachineLock } from './machine-lock.ts'
import { writeEnvFiles } from './node-env.ts'
import { openNodeProgress } from './node-progress.ts'
import { endChild, joinFailures, type NodeWork, planWork, toLeftOut } from './node-work.ts'
import { findRequirements, resolvePackages } from './resolve-packages.ts'
import { stageSources } from './stage-sources.ts'
import type { Wish } from './wish.ts'

/** What a build works with; opened only when something is to be built. */
export interface BuildTools extends FillTools {
  readonly git: Git
}

/** What a generation is to be made of. */
export interface BuildRequest {
  readonly wish: Wish
  /** Digest of the wish. */
  readonly wishHash: string
  readonly models: readonly WantedModel[]
  /** The lock that is carried out to the letter; undefined where the wish is resolved. */
  readonly locked: MachineLock | undefined
  /** An update asks remotes for the heads of branches anew, and it leaves alone what runs. */
  readonly purpose: 'start' | 'update'
  /** Done before the generation is called whole. */
  readonly beforeComplete?: () => Promise<void>
}

/**
 * Makes a generation beside those that are there, or finds the whole one that has the same content. Until it is whole it is
 * only named by the pointer `next`; a build that fails leaves nothing of it. Throws the failures of all nodes, unless
 * COMPONENT_FAILURE_POLICY lets it go without them.
 */
export async function buildGeneration(
  context: InstallContext,
  tools: BuildTools,
  request: BuildRequest,
): Promise<Generation> {
  const works = request.wish.nodes.map((node) => planWork(context, node))
  const progress = openNodeProgress(context)
  const spared = request.purpose === 'update' ? await listNamed(context, 'in use') : new Set<string>()
  try {
    await removeUnfinished(context, spared)
    const build: Build = { context, tools, request, works, progress, heads: await readHeads(context, request) }
    let generation = await buildOnce(build)
    while (generation === undefined) {
      note(context, 'beginning anew without the custom nodes that failed', 'warning')
      await removeUnfinished(context, spared)
      generation = await buildOnce(build)
    }
    for (const work of works) endChild(context, work, work.error === undefined ? 'done' : 'failed')
    return generation
  } catch (error) {
    context.host.signal.throwIfAborted()
    for (const work of works) endChild(context, work, work.error === undefined ? 'done' : 'failed')
    await removeUnfinished(context, spared)
    throw toDiskFull(error) ?? error
  } finally {
    progress.stop()
  }
}

interface Build {
  readonly context: InstallContext
  readonly tools: BuildTools
  readonly request: BuildRequest
  readonly works: readonly NodeWork[]
  readonly progress: ReturnType<typeof openNodeProgress>
  /** Locks that say where unpinned branches were, the one that counts first. */
  readonly heads: readonly MachineLock[]
}

async function readHeads(context: InstallContext, { purpose }: BuildRequest): Promise<readonly MachineLock[]> {
  if (purpose === 'update') return []
  const current = await readCurrent(context)
  const others = await listGenerations(context)
  return [...(current === undefined ? [] : [current]), ...others].map(({ lock }) => lock)
}

/** A lock leaves no node out: it would be another generation. */
const mayLeaveOut = ({ context, request }: Build): boolean =>
  context.plan.components.failurePolicy === 'degraded' && request.locked === undefined

/** One pass over all nodes that have not failed; undefined when some had to be left out after the id was known. */
async function buildOnce(build: Build): Promise<Generation | undefined> {
  const { context, tools, request, progress } = build
  const { files } = context.host
  const places = placesOf(context.plan.paths.workspace)
  const going = build.works.filter(({ error }) => error === undefined)
  for (const work of going) work.pieces = []
  await stageSources(
    context,
    tools.git,
    {
      directory: places.staging,
      source: request.wish.source,
      works: going,
      headOf: ({ node }) => lockedHead(build.heads, node),
    },
    progress,
  )
  if (!mayLeaveOut(build)) throwFailures(build)
  const content = await resolveContent(build)
  const id = generationId(content, context.host.digest)
  if (request.locked !== undefined && request.locked.generation !== id) {
    throw new MachineError('CM1608', `the lock is of generation ${request.locked.generation}, and it makes ${id}`)
  }
  const known = await readGeneration(context, id)
  if (known !== undefined) {
    await files.remove(places.staging)
    note(context, `generation ${id} is there already`)
    return known
  }
  const directory = join(places.generations, id)
  await files.link(pointerTo(id), places.next)
  await files.rename(places.staging, directory)
  const staying = build.works.filter(({ error }) => error === undefined)
  for (const { node } of build.works.filter(({ error }) => error !== undefined)) {
    await files.remove(join(directory, 'custom_nodes', node.name))
  }
  await fillGeneration(context, tools, { directory, works: staying, requirements: content.requirements, progress })
  if (staying.some(({ error }) => error !== undefined)) {
    if (!mayLeaveOut(build)) throwFailures(build)
    return undefined
  }
  await writeEnvFiles(
    context,
    staying.map(({ node }) => node),
  )
  await request.beforeComplete?.()
  return complete(context, directory, { ...content, generation: id })
}

function throwFailures({ works }: Build): void {
  const failure = joinFailures(works)
  if (failure !== undefined) throw failure
}

async function resolveContent(build: Build): Promise<LockContent> {
  const { context, tools, request, works, progress } = build
  const { python } = tools
  const { staging } = placesOf(context.plan.paths.workspace)
  const interpreter = await python.interpreter()
  const { locked } = request
  if (locked !== undefined) {
    const { version, machine } = locked.python
    if (version === interpreter.version && machine === interpreter.machine) return locked
    const here = `Python ${interpreter.version} on ${interpreter.machine}`
    throw new MachineError('CM1405', `the lock is of Python ${version} on ${machine}, and here is ${here}`)
  }
  await findRequirements(context, works, staging)
  const requirements = join(staging, 'requirements.txt')
  const { requirements: pinned } = await resolvePackages(context, {
    python,
    common: (await context.host.files.stat(requirements)) === undefined ? undefined : requirements,
    works,
    progress,
    mayLeaveOut: mayLeaveOut(build),
  })
  const { torchBackend } = context.plan.python
  return {
    schema: 1,
    wish: request.wishHash,
    comfyui: request.wish.source,
    python: {
      interpreter: interpreter.path,
      version: interpreter.version,
      machine: interpreter.machine,
      installer: python.installer,
      torchBackend,
    },
    nodes: works.flatMap((work) => toLocked(work) ?? []),
    requirements: pinned,
    models: request.models,
    leftOut: works.filter(({ error }) => error !== undefined).map(toLeftOut),
  }
}

function toLocked({ node, commit, error }: NodeWork): LockedNode | undefined {
  if (error !== undefined || commit === undefined) return undefined
  return { ...node, commit, pinned: node.commit !== null }
}

/** Makes a filled directory a whole generation: all of it is on the disk before its marker is. */
async function complete(context: InstallContext, directory: string, lock: MachineLock): Promise<Generation> {
  const { exec, files, signal } = context.host
  await files.writeText(join(directory, LOCK_FILE), `${JSON.stringify(lock, null, 2)}\n`)
  const synced = await exec.run(['sync', '-f', directory], { env: { PATH: '/usr/bin:/bin' }, signal })
  signal.throwIfAborted()
  if (synced.code !== 0) throw new MachineError('CM0401', `${directory}: ${synced.stderr.trim()}`)
  const record: CompleteRecord = { schema: 1, generation: lock.generation }
  await files.writeText(join(directory, COMPLETE_FILE), `${JSON.stringify(record)}\n`, { durable: true })
  const whole = await readGeneration(context, lock.generation)
  if (whole === undefined) throw new MachineError('CM1790', `${directory} is not whole after it was built`)
  return whole
}
