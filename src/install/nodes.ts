import { basename, join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { Git, Python } from '../host/install-ports.ts'
import { withoutUser } from './component-safety.ts'
import { COMPONENTS_FILE, type Components, type WantedNode } from './components.ts'
import { type InstallContext, mapLimited, note, parseRecord } from './context.ts'
import { moveAside, type NodePlaces, nodePlaces, placeNode, readNodeRecord, writeNodeRecord } from './node-files.ts'
import { installPackages } from './node-packages.ts'
import { chooseRemoved } from './node-plan.ts'
import { type NodeProgress, openNodeProgress } from './node-progress.ts'
import { type SetupTools, setUpNode } from './node-setup.ts'
import { attempt, endChild, finish, type NodeWork, planWork } from './node-work.ts'
import { carryOut } from './pieces.ts'

const FETCHED_AT_ONCE = 8

/** What the node installer has beside its context; opened only when something is to be done. */
export interface NodeTools {
  readonly git: Git
  readonly python: Python
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
  if (changed.length > 0) await installChanged(context, await open(), { places, comfyui, works, changed })
  finish(context, works, removed)
}

async function installChanged(
  context: InstallContext,
  { git, python }: NodeTools,
  work: {
    readonly places: NodePlaces
    readonly comfyui: string
    readonly works: readonly NodeWork[]
    readonly changed: readonly NodeWork[]
  },
): Promise<void> {
  const { places, comfyui, works, changed } = work
  const progress = openNodeProgress(context)
  const onScript = (node: WantedNode, what: string): void => progress.enter(node.name, what)
  try {
    await fetchNodes(context, git, places, changed, progress)
    await installPackages(context, python, works, comfyui, progress)
    const tools = { python, environment: join(comfyui, 'venv'), comfyui, onScript }
    await setUpNodes(context, tools, changed, progress)
    await context.host.files.remove(places.staging)
  } finally {
    progress.stop()
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
  progress: NodeProgress,
): Promise<void> {
  const wanted = works.filter(({ action }) => action === 'update' || action === 'place')
  if (wanted.length === 0) return
  progress.begin(wanted.length, (done) => `${done}/${wanted.length} custom nodes fetched`)
  await mapLimited(wanted, FETCHED_AT_ONCE, async (work) => {
    const { node, action, pieces } = work
    const attributes = { 'git.url': withoutUser(node.url) }
    const piece = { name: 'clone', code: 'CM1701' as const, attributes, add: pieces.push.bind(pieces) }
    progress.enter(node.name)
    await attempt(context, work, async () => {
      const placed = await carryOut(
        context,
        piece,
        () => placeNode(context, git, places, node, action),
        ({ record, mirror }) => ({ 'git.commit': record.commit, 'git.mirror': mirror }),
      )
      work.record = placed.record
    })
    progress.leave(node.name)
  })
}

async function setUpNodes(
  context: InstallContext,
  tools: SetupTools,
  works: readonly NodeWork[],
  progress: NodeProgress,
): Promise<void> {
  progress.begin(works.length, (done) => `${done}/${works.length} custom nodes set up`)
  for (const work of works) {
    progress.enter(work.node.name)
    await setUpWork(context, tools, work)
    progress.leave(work.node.name)
  }
}

async function setUpWork(context: InstallContext, tools: SetupTools, work: NodeWork): Promise<void> {
  const { node, directory, values, record, content, pieces } = work
  if (work.error !== undefined || record === undefined) return
  const attributes = { 'install.env': Object.keys(values).length }
  const piece = { name: 'install', code: 'CM1701' as const, attributes, add: pieces.push.bind(pieces) }
  await attempt(context, work, async () => {
    const setUp = async (): Promise<readonly string[]> => {
      const scripts = await setUpNode(context, tools, node, directory, values)
      work.record = { ...record, content }
      await writeNodeRecord(context, directory, work.record)
      return scripts
    }
    await carryOut(context, piece, setUp, (scripts) => ({ 'install.scripts': scripts.join(', ') }))
  })
  if (work.error === undefined) endChild(context, work, 'done')
}
