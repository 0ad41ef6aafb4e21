import { definitionOf, isErrorCode, MachineError, toMachineError } from '../errors.ts'
import type { ReportedWork } from '../report.ts'
import { withoutUser } from './component-safety.ts'
import type { WantedNode } from './components.ts'
import { type InstallContext, note, reportChild, spanOf, toReported } from './context.ts'
import { toDiskFull } from './disk-full.ts'
import type { LeftOutNode } from './machine-lock.ts'
import { nodeEnv } from './node-env.ts'

/** One node on its way into a generation; `error` is set when it failed, and nothing more is done for it then. */
export interface NodeWork {
  readonly node: WantedNode
  readonly plannedUs: number
  /** What was done for it so far: clone, install. */
  pieces: ReportedWork[]
  commit: string | undefined
  /** Path of its requirements file where it has one that counts. */
  requirements: string | undefined
  error: MachineError | undefined
}

/** A node before anything is done for it. It has failed already with CM1705 when a variable that it wants is not set. */
export function planWork(context: InstallContext, node: WantedNode): NodeWork {
  const { missing } = nodeEnv(context, node)
  const error =
    missing.length === 0
      ? undefined
      : new MachineError('CM1705', `custom node ${node.name} wants ${missing.join(', ')}`)
  const plannedUs = context.host.clock.nowUs()
  return { node, plannedUs, pieces: [], commit: undefined, requirements: undefined, error }
}

/** Failures of the host, which are no node's: they end a build whatever COMPONENT_FAILURE_POLICY says. */
const OF_THE_HOST: ReadonlySet<string> = new Set(['CM0401', 'CM0402', 'CM1402', 'CM1711'])

/** Does something for a node; a failure becomes the node's, in words that name it. Throws when it is one of the host. */
export async function attempt(context: InstallContext, work: NodeWork, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    context.host.signal.throwIfAborted()
    const failure = toDiskFull(error) ?? toMachineError(error, 'CM1701')
    if (OF_THE_HOST.has(failure.code)) throw failure
    work.error = namingNode(work.node.name, failure)
  }
}

/** A failure in words that name the node. */
export function namingNode(name: string, failure: MachineError): MachineError {
  const { code, type, hint, message } = failure
  const text = message.startsWith('custom node') ? message : `custom node ${name}: ${message}`
  return new MachineError(code, text, { cause: failure, type, hint })
}

/** The fields of a journal line about one node. */
export function nodeFields(context: InstallContext, node: WantedNode): Readonly<Record<string, string>> {
  return { COMFY_NODE: node.name, SPAN_ID: spanOf(context, `node ${node.name}`) }
}

/** Records a node whose work has ended; it lasted from its first piece to its last. */
export function endChild(context: InstallContext, work: NodeWork, state: 'done' | 'skipped' | 'failed'): void {
  const { node, commit, error, pieces } = work
  reportChild(context, {
    name: `node ${node.name}`,
    startUs: pieces[0]?.startUs ?? work.plannedUs,
    endUs: pieces.at(-1)?.endUs ?? work.plannedUs,
    state,
    attributes: {
      'node.name': node.name,
      'node.url': withoutUser(node.url),
      'node.commit': commit ?? '',
      'node.requirements': work.requirements !== undefined,
      'node.sources': node.sources.join(', '),
    },
    children: pieces,
    ...(error === undefined ? {} : { error }),
  })
  if (error === undefined) return
  const fields = { ...nodeFields(context, node), COMFY_STATE: state }
  note(context, error.message, 'err', { ...fields, COMFY_ERROR_CODE: error.code, COMFY_ERROR_TYPE: error.type })
}

/** One failure out of those of several nodes: the first one's code, and what all of them say. */
export function joinFailures(works: readonly NodeWork[]): MachineError | undefined {
  const errors = works.flatMap(({ error }) => error ?? [])
  const [first] = errors
  if (first === undefined) return undefined
  const text = errors.map(({ message }) => message).join('; ')
  return new MachineError(first.code, text, { cause: first, type: first.type, hint: first.hint })
}

/** A node that a generation goes without, as its lock says it. */
export function toLeftOut({ node, error }: NodeWork): LeftOutNode {
  return { name: node.name, code: error?.code ?? 'CM1790', message: error?.message ?? '' }
}

/** True when the reason may go away by itself, so that the next start tries again. */
export function isWorthRetry({ code }: LeftOutNode): boolean {
  return isErrorCode(code) && definitionOf(code).transient === true
}

/** Tells of every node that a generation goes without: in the report, for all who look, and in the journal. */
export function reportShortfalls(context: InstallContext, leftOut: readonly LeftOutNode[]): void {
  for (const { name, code, message } of leftOut) {
    const failure = new MachineError(isErrorCode(code) ? code : 'CM1790', message)
    const component = `custom node ${name}`
    context.host.report.write({ kind: 'shortfall', component, failure: toReported(failure) })
    note(context, `the machine goes without custom node ${name}: ${failure.code} ${message}`, 'warning', {
      COMFY_NODE: name,
      COMFY_ERROR_CODE: failure.code,
      COMFY_ERROR_TYPE: failure.type,
    })
  }
}
