import { basename, join } from 'node:path'
import { MachineError, toMachineError } from '../errors.ts'
import type { Git, Python } from '../host/install-ports.ts'
import { COMPONENTS_FILE, type Components, type WantedNode } from './components.ts'
import { type InstallContext, mapLimited, note, parseRecord, progress, reportChild, reportFacts } from './context.ts'
import { resolveEnv } from './node-env.ts'
import { moveAside, type NodePlaces, nodePlaces, placeNode, readNodeRecord, writeNodeRecord } from './node-files.ts'
import { chooseRemoved, contentKey, type NodeAction, type NodeRecord, planNode } from './node-plan.ts'
import { setUpNode } from './node-setup.ts'

const FETCHED_AT_ONCE = 8

/** What the node installer has beside its context; opened only when something is to be done. */
export interface NodeTools {
  readonly git: Git
  readonly python: Python
}

/** One node on its way; `error` is set when it failed, and nothing more is done for it then. */
interface NodeWork {
  readonly node: WantedNode
  readonly directory: string
  readonly values: Readonly<Record<string, string>>
  readonly content: string
  readonly action: NodeAction
  startUs: number
  record: NodeRecord | undefined
  requirements: string | undefined
  error: MachineError | undefined
}

/** Step 17: every wanted node in place, at its commit, with packages, `.env` and scripts. One that fails does not stop the others. */
export async function installNodes(context: InstallContext, open: () => Promise<NodeTools>): Promise<void> {
  const { plan, host } = context
  const places = nodePlaces(plan.paths.workspace)
  const components = parseRecord<Components>(await host.files.readText(join(plan.paths.workspace, COMPONENTS_FILE)))
  if (components === undefined)
    throw new MachineError('CM0001', `there is no ${COMPONENTS_FILE}; comfy-discover writes it`)
  const comfyui = join(plan.paths.workspace, 'comfyui', 'current')
  const generation = await host.files.readLink(comfyui)
  if (generation === undefined)
    throw new MachineError('CM0001', `there is no ${comfyui}; comfy-install-comfyui makes it`)

  const works = await Promise.all(components.nodes.map((node) => planWork(context, places, node, basename(generation))))
  const removed = await removeUnwanted(context, places, components.nodes)
  const changed = works.filter(({ action, error }) => action !== 'keep' && error === undefined)
  if (changed.length > 0) {
    const tools = await open()
    await fetchNodes(context, tools.git, places, changed)
    const environment = join(comfyui, 'venv')
    await installPackages(context, tools.python, works, comfyui)
    await setUpNodes(context, { python: tools.python, environment, comfyui }, changed)
    await host.files.remove(places.staging)
  }
  finish(context, works, removed)
}

async function planWork(
  context: InstallContext,
  places: NodePlaces,
  node: WantedNode,
  generation: string,
): Promise<NodeWork> {
  const { plan, host } = context
  const directory = join(places.nodes, node.name)
  const lookUp = (name: string): string | undefined => host.secrets.read(name) ?? plan.environment[name]
  const { values, missing } = resolveEnv(node.env, lookUp)
  const content = host.digest(contentKey(node, values, generation))
  const record = await readNodeRecord(context, directory)
  const error =
    missing.length === 0
      ? undefined
      : new MachineError('CM1705', `custom node ${node.name} wants ${missing.join(', ')}`)
  const action = planNode(record, node, content)
  return {
    node,
    directory,
    values,
    content,
    action,
    record,
    error,
    requirements: undefined,
    startUs: host.clock.nowUs(),
  }
}

async function removeUnwanted(
  context: InstallContext,
  places: NodePlaces,
  wanted: readonly WantedNode[],
): Promise<readonly string[]> {
  const known = new Set(wanted.map(({ name }) => name))
  const others = (await context.host.files.list(places.nodes)).filter((name) => !known.has(name))
  const installed = await Promise.all(
    others.map(async (name) => ({ name, record: await readNodeRecord(context, join(places.nodes, name)) })),
  )
  const removed = chooseRemoved(installed, wanted)
  for (const name of removed) {
    await moveAside(context, places, name)
    note(context, `custom node ${name} is not wanted any more: moved to ${places.removed}`, 'notice', {
      COMFY_NODE: name,
    })
  }
  return removed
}

async function fetchNodes(
  context: InstallContext,
  git: Git,
  places: NodePlaces,
  works: readonly NodeWork[],
): Promise<void> {
  const wanted = works.filter(({ action }) => action === 'update' || action === 'place')
  let done = 0
  progress(context, `fetching ${wanted.length} custom nodes`)
  await mapLimited(wanted, FETCHED_AT_ONCE, async (work) => {
    work.startUs = context.host.clock.nowUs()
    await attempt(context, work, async () => {
      work.record = await placeNode(context, git, places, work.node, work.action)
    })
    done += 1
    progress(context, `${done}/${wanted.length} custom nodes fetched`)
  })
}

/** All requirement files go into one resolution; only when that fails each changed node is tried alone, to name the culprit. */
async function installPackages(
  context: InstallContext,
  python: Python,
  works: readonly NodeWork[],
  comfyui: string,
): Promise<void> {
  const { files } = context.host
  for (const work of works) {
    const path = join(work.directory, 'requirements.txt')
    if (!work.node.requirements || work.error !== undefined) continue
    if ((await files.stat(path))?.kind === 'file') work.requirements = path
  }
  const wanting = works.filter(({ requirements }) => requirements !== undefined)
  const changed = wanting.filter(({ action }) => action !== 'keep')
  if (changed.length === 0) return
  const environment = join(comfyui, 'venv')
  const base = join(comfyui, 'requirements.txt')
  const common = (await files.stat(base)) === undefined ? [] : [base]
  progress(context, `installing the Python packages of ${wanting.length} custom nodes with ${python.installer}`)
  const all = await python.installRequirements(environment, [
    ...common,
    ...wanting.flatMap(({ requirements }) => requirements ?? []),
  ])
  if (all.ok) return
  note(context, `the packages of all custom nodes do not install together, trying one by one: ${all.detail}`, 'warning')
  for (const work of changed) {
    progress(context, `${work.node.name}: Python packages`)
    const one = await python.installRequirements(environment, [...common, work.requirements ?? base])
    if (!one.ok) work.error = new MachineError('CM1703', `custom node ${work.node.name}: ${one.detail}`)
  }
}

async function setUpNodes(
  context: InstallContext,
  tools: Parameters<typeof setUpNode>[1],
  works: readonly NodeWork[],
): Promise<void> {
  for (const work of works) {
    const { node, directory, values, record, content } = work
    if (work.error !== undefined || record === undefined) continue
    await attempt(context, work, async () => {
      await setUpNode(context, tools, node, directory, values)
      work.record = { ...record, content }
      await writeNodeRecord(context, directory, work.record)
    })
    if (work.error === undefined) endChild(context, work, 'done')
  }
}

async function attempt(context: InstallContext, work: NodeWork, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    context.host.signal.throwIfAborted()
    const failure = toMachineError(error, 'CM1701')
    const text = failure.message.startsWith('custom node')
      ? failure.message
      : `custom node ${work.node.name}: ${failure.message}`
    work.error = new MachineError(failure.code, text, { cause: error, type: failure.type, hint: failure.hint })
  }
}

function endChild(context: InstallContext, work: NodeWork, state: 'done' | 'skipped' | 'failed'): void {
  const { node, record, error } = work
  reportChild(context, {
    name: `node ${node.name}`,
    startUs: work.startUs,
    state,
    attributes: {
      'node.name': node.name,
      'node.url': node.url,
      'node.commit': record?.commit ?? '',
      'node.requirements': work.requirements !== undefined,
      'node.action': work.action,
      'node.sources': node.sources.join(', '),
    },
    ...(error === undefined ? {} : { error }),
  })
  if (state === 'skipped') return
  const fields = { COMFY_NODE: node.name, COMFY_STATE: state }
  if (error === undefined)
    note(context, `custom node ${node.name} is installed at ${record?.commit.slice(0, 10)}`, 'info', fields)
  else note(context, error.message, 'err', { ...fields, COMFY_ERROR_CODE: error.code, COMFY_ERROR_TYPE: error.type })
}

function finish(context: InstallContext, works: readonly NodeWork[], removed: readonly string[]): void {
  const failed = works.filter(({ error }) => error !== undefined)
  const kept = works.filter(({ action, error }) => action === 'keep' && error === undefined)
  for (const work of kept) endChild(context, work, 'skipped')
  for (const work of failed) endChild(context, work, 'failed')
  const installed = works.length - kept.length - failed.length
  reportFacts(context, {
    'nodes.wanted': works.length,
    'nodes.installed': installed,
    'nodes.unchanged': kept.length,
    'nodes.failed': failed.length,
    'nodes.removed': removed.length,
  })
  const summary = `${installed} custom nodes installed, ${kept.length} unchanged, ${failed.length} failed`
  note(context, summary)
  context.host.notify.status(summary)
  const errors = failed.flatMap(({ error }) => error ?? [])
  const [first] = errors
  if (first === undefined) return
  const text = errors.map(({ message }) => message).join('; ')
  throw new MachineError(first.code, text, { cause: first, type: first.type, hint: first.hint })
}
