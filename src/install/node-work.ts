import { join } from 'node:path'
import { MachineError, toMachineError } from '../errors.ts'
import type { ReportedWork } from '../report.ts'
import { withoutUser } from './component-safety.ts'
import type { WantedNode } from './components.ts'
import { type InstallContext, note, reportChild, reportFacts } from './context.ts'
import { resolveEnv } from './node-env.ts'
import { type NodePlaces, readNodeRecord } from './node-files.ts'
import { contentKey, type NodeAction, type NodeRecord, planNode } from './node-plan.ts'
import { nodeFields } from './node-setup.ts'

/** One node on its way; `error` is set when it failed, and nothing more is done for it then. */
export interface NodeWork {
  readonly node: WantedNode
  readonly directory: string
  readonly values: Readonly<Record<string, string>>
  readonly content: string
  readonly action: NodeAction
  readonly plannedUs: number
  /** What was done for it so far: clone, resolve, install. */
  readonly pieces: ReportedWork[]
  record: NodeRecord | undefined
  requirements: string | undefined
  error: MachineError | undefined
}

/** What is to be done for one node; `generation` names the ComfyUI that it goes into. */
export async function planWork(
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
  const plannedUs = host.clock.nowUs()
  return { node, directory, values, content, action, record, error, requirements: undefined, plannedUs, pieces: [] }
}

/** Does something for a node; a failure becomes the node's, in words that name it. */
export async function attempt(context: InstallContext, work: NodeWork, run: () => Promise<void>): Promise<void> {
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

/** Records a node whose work has ended; it lasted from its first piece to its last. */
export function endChild(context: InstallContext, work: NodeWork, state: 'done' | 'skipped' | 'failed'): void {
  const { node, record, error, pieces } = work
  reportChild(context, {
    name: `node ${node.name}`,
    startUs: pieces[0]?.startUs ?? work.plannedUs,
    endUs: pieces.at(-1)?.endUs ?? work.plannedUs,
    state,
    attributes: {
      'node.name': node.name,
      'node.url': withoutUser(node.url),
      'node.commit': record?.commit ?? '',
      'node.requirements': work.requirements !== undefined,
      'node.action': work.action,
      'node.sources': node.sources.join(', '),
    },
    children: pieces,
    ...(error === undefined ? {} : { error }),
  })
  if (state === 'skipped') return
  const fields = { ...nodeFields(context, node), COMFY_STATE: state }
  if (error === undefined)
    note(context, `custom node ${node.name} is installed at ${record?.commit.slice(0, 10)}`, 'info', fields)
  else note(context, error.message, 'err', { ...fields, COMFY_ERROR_CODE: error.code, COMFY_ERROR_TYPE: error.type })
}

/** Records what is left to tell of all nodes and their sum. Throws the first failure. */
export function finish(context: InstallContext, works: readonly NodeWork[], removed: readonly string[]): void {
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
