import { MachineError, messageOf } from '../errors.ts'
import type { ComfyUI, Files } from '../host/ports.ts'
import type { VerifiedFile } from '../models/model-plan.ts'
import type { EvidenceDocument, NodeEvidence } from './evidence-document.ts'
import { type PromptEvidencePorts, tryPrompt } from './evidence-prompt.ts'
import type { Expected, ExpectedNode } from './expected.ts'
import type { Gap } from './gap.ts'
import { describeFailures, findMissing, type ImportReport, importGap, parseImports } from './imports.ts'
import { findDisplaced } from './model-places.ts'
import { classGap, missingClasses, type OfferedClasses, parseOffered, seenClasses } from './node-classes.ts'

/** What gathering needs of the outside. */
export interface EvidencePorts extends PromptEvidencePorts {
  readonly comfyui: PromptEvidencePorts['comfyui'] & Pick<ComfyUI, 'logs' | 'objectInfo' | 'extensions'>
  readonly files: Pick<Files, 'stat'>
  readonly hash: (file: string) => Promise<string>
}

/** What there is to be evidence of. */
export interface EvidenceRequest {
  readonly gpu: string
  readonly generation: string
  readonly traceId: string
  readonly invocationId: string
  readonly expected: Expected
  /** What was found at earlier starts, on any GPU of this machine. */
  readonly seen: readonly EvidenceDocument[]
  /** Folder of the models, and what is recorded of the files in it. */
  readonly models: string
  readonly verified: ReadonlyMap<string, VerifiedFile>
}

/** What was found. */
export interface Evidence {
  readonly document: EvidenceDocument
  readonly gaps: readonly Gap[]
  /** The log of ComfyUI tells of every custom node, of some, or is not shown by this version. */
  readonly importCheck: 'complete' | 'incomplete' | 'unavailable'
  readonly importFailed: readonly string[]
}

/** Gathers the evidence that a ComfyUI which answers does what it is to do. What is missing is a gap; rejects only where its log cannot be asked for. */
export async function gatherEvidence(ports: EvidencePorts, request: EvidenceRequest): Promise<Evidence> {
  const { clock } = ports
  const startUs = clock.nowUs()
  const durations: Record<string, number> = {}
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const fromUs = clock.nowUs()
    const value = await work()
    durations[name] = Math.round((clock.nowUs() - fromUs) / 1000)
    return value
  }
  const { expected, models, verified } = request
  // One after the other: while ComfyUI describes its classes it answers nothing else.
  const messages = await timed('imports', () => ports.comfyui.logs())
  const offered = await timed('classes', () => readOffered(ports.comfyui))
  const displaced = await timed('models', () => findDisplaced(ports, models, expected.models, verified))
  const prompt = await timed('prompt', () => tryPrompt(ports))
  const report = messages === undefined ? undefined : parseImports(messages)
  const nodes = expected.nodes.map((node) => judgeNode(node, report, offered, request.seen))
  const unread = typeof offered === 'string' ? [unreadGap(offered)] : []
  const gaps = [
    ...nodes.flatMap(({ gap }) => gap ?? []),
    ...unread,
    ...displaced,
    ...(prompt === undefined ? [] : [prompt]),
  ]
  const importFailed = report?.failures.map(({ name }) => name) ?? []
  return {
    document: {
      schema: 1,
      gpu: request.gpu,
      generation: request.generation,
      traceId: request.traceId,
      invocationId: request.invocationId,
      at: new Date(startUs / 1000).toISOString(),
      isComplete: gaps.length === 0,
      durations: { ...durations, all: Math.round((clock.nowUs() - startUs) / 1000) },
      nodes: nodes.map(({ evidence }) => evidence),
      models: { wanted: expected.models.length, displaced: displaced.map(({ component }) => component) },
      gaps: gaps.map(({ component, error: { code, message, hint } }) => ({ component, code, message, hint })),
      notes: [...nodes.flatMap(({ note }) => note ?? []), ...notesOf(report, expected.nodes)],
    },
    gaps,
    importCheck: report === undefined ? 'unavailable' : report.isComplete ? 'complete' : 'incomplete',
    importFailed,
  }
}

async function readOffered(comfyui: EvidencePorts['comfyui']): Promise<OfferedClasses | string> {
  try {
    return parseOffered(await comfyui.objectInfo(), await comfyui.extensions())
  } catch (error) {
    return messageOf(error)
  }
}

interface JudgedNode {
  readonly evidence: NodeEvidence
  readonly gap?: Gap
  readonly note?: string
}

function judgeNode(
  node: ExpectedNode,
  report: ImportReport | undefined,
  offered: OfferedClasses | string,
  seen: readonly EvidenceDocument[],
): JudgedNode {
  const { name, commit } = node
  const known = seenClasses(node, seen)
  const wanted = [...new Set([...node.classes, ...known])].sort()
  const [classes, web] =
    typeof offered === 'string' ? [[], false] : [offered.byNode.get(name) ?? [], offered.web.has(name)]
  const absent = typeof offered === 'string' ? [] : missingClasses(wanted, offered)
  const failure = report && [...report.failures, ...findMissing(report, [name])].find((each) => each.name === name)
  const imported = report?.imported.includes(name) === true || classes.length > 0 ? true : failure ? false : null
  const ever = [...new Set([...classes, ...known])].sort()
  const evidence = { name, commit, imported, classes, seen: ever, missing: absent, web }
  if (failure !== undefined) return { evidence, gap: importGap(failure, node) }
  if (typeof offered === 'string') return { evidence }
  if (absent.length > 0) return { evidence, gap: classGap(node, absent) }
  const isSilent = classes.length === 0 && !web
  return isSilent ? { evidence, note: `custom node ${name} offers no class and no script` } : { evidence }
}

function unreadGap(problem: string): Gap {
  return { component: 'node classes', error: new MachineError('CM1903', `the classes cannot be read: ${problem}`) }
}

function notesOf(report: ImportReport | undefined, nodes: readonly ExpectedNode[]): readonly string[] {
  if (report === undefined) return ['this ComfyUI does not show its log; imports of custom nodes are not checked']
  const names = new Set(nodes.map(({ name }) => name))
  const others = report.failures.filter(({ name }) => !names.has(name))
  return others.length === 0 ? [] : [`not imported, and not asked for: ${describeFailures(others)}`]
}
