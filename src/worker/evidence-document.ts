/** Name of the document in the report directory of a ComfyUI's unit. */
export const EVIDENCE_FILE = 'evidence.json'

/** What was found of one custom node. */
export interface NodeEvidence {
  readonly name: string
  readonly commit: string | null
  /** null: the log of ComfyUI does not tell. */
  readonly imported: boolean | null
  /** Classes that it offers. */
  readonly classes: readonly string[]
  /** All classes that it was ever seen with at this commit, on this machine. */
  readonly seen: readonly string[]
  /** Wanted classes that it does not offer. */
  readonly missing: readonly string[]
  /** It adds scripts to the page. */
  readonly web: boolean
}

/** What was found when a ComfyUI started: `evidence.json` of its unit, and one file per generation in its instance's directory. */
export interface EvidenceDocument {
  readonly schema: 1
  readonly gpu: string
  /** Id of the generation that ran. */
  readonly generation: string
  readonly traceId: string
  /** InvocationID of the unit. */
  readonly invocationId: string
  readonly at: string
  readonly isComplete: boolean
  /** What each part of the evidence took, milliseconds. */
  readonly durations: Readonly<Record<string, number>>
  readonly nodes: readonly NodeEvidence[]
  readonly models: { readonly wanted: number; readonly displaced: readonly string[] }
  readonly gaps: readonly {
    readonly component: string
    readonly code: string
    readonly message: string
    readonly hint: string
  }[]
  readonly notes: readonly string[]
}

/** A kept document; undefined for anything that is none, since a custom node may write there too. */
export function parseEvidence(text: string | undefined): EvidenceDocument | undefined {
  if (text === undefined) return undefined
  try {
    const document = JSON.parse(text) as Partial<EvidenceDocument> | null
    const isWhole = document?.schema === 1 && Array.isArray(document.nodes) && document.nodes.every(isNode)
    return isWhole ? (document as EvidenceDocument) : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

function isNode(value: unknown): boolean {
  const node = value as Partial<NodeEvidence> | null
  return typeof node?.name === 'string' && Array.isArray(node.seen)
}
