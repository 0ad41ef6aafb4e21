import { stepNumber, type TraceNode } from './trace-model.ts'

/** Clock noise between the end of one step and the begin of the next that waited for it. */
const GAP_US = 2_000
/** Unit Generation: it only encloses steps 7 to 10. */
const ENCLOSING_STEP = 6

/** A piece of the path: a step, or its part for one GPU, because a GPU does not wait for another. */
interface Piece {
  readonly step: TraceNode
  readonly node: TraceNode
  readonly gpu: string | undefined
}

/** The steps that determined how long a startup took, in the order of time. */
export function criticalSteps(root: TraceNode): readonly TraceNode[] {
  return [...new Set(criticalPieces(root).map(({ step }) => step))]
}

/** Ids of the spans on the critical path: its steps, of a step per GPU the one that counted, and within each the part that took longest. */
export function criticalSpans(root: TraceNode): ReadonlySet<string> {
  const ids = new Set<string>()
  for (const piece of criticalPieces(root)) {
    ids.add(piece.step.span.spanId)
    for (let node: TraceNode | undefined = piece.node; node !== undefined; node = slowestOf(node))
      ids.add(node.span.spanId)
  }
  return ids
}

// Backwards from the last piece to end, each time the one that ended last before the begin of the one found. Skipped ones
// took no time. Once the path runs along a GPU, what happened to the others does not count.
function criticalPieces(root: TraceNode): readonly Piece[] {
  const isEnclosing = ({ span }: TraceNode): boolean => stepNumber(span) === ENCLOSING_STEP
  const pieces = root.children
    .flatMap((node) => (isEnclosing(node) ? node.children : [node]))
    .flatMap(piecesOf)
    .filter(({ node }) => !isSkipped(node))
    .sort((a, b) => b.node.span.endUs - a.node.span.endUs)
  const path: Piece[] = []
  let untilUs = Number.POSITIVE_INFINITY
  let gpu: string | undefined
  for (const piece of pieces) {
    const { startUs, endUs } = piece.node.span
    if (endUs > untilUs || (gpu ?? piece.gpu) !== (piece.gpu ?? gpu)) continue
    path.unshift(piece)
    gpu ??= piece.gpu
    untilUs = Math.min(untilUs, startUs + GAP_US, endUs)
  }
  return path
}

function piecesOf(step: TraceNode): readonly Piece[] {
  const prefix = `${step.span.name} gpu`
  const perGpu = step.children.filter(({ span }) => span.name.startsWith(prefix))
  if (perGpu.length === 0) return [{ step, node: step, gpu: undefined }]
  return perGpu.map((node) => ({ step, node, gpu: node.span.name.slice(prefix.length) }))
}

function slowestOf({ children }: TraceNode): TraceNode | undefined {
  const tookUs = ({ span }: TraceNode): number => span.endUs - span.startUs
  return children
    .filter((node) => !isSkipped(node))
    .toSorted((a, b) => tookUs(b) - tookUs(a) || b.span.endUs - a.span.endUs)[0]
}

function isSkipped({ span }: TraceNode): boolean {
  return span.attributes['step.state'] === 'skipped'
}
