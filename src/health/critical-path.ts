import { stepNumber, type TraceNode } from './trace-model.ts'

/** Clock noise between the end of one step and the begin of the next that waited for it. */
const GAP_US = 2_000
/** Unit Generation: it only encloses steps 7 to 10. */
const ENCLOSING_STEP = 6

/**
 * The steps that determined how long a startup took, in the order of time: backwards from the last one to end, each time
 * the one that ended last before the begin of the one found. Skipped steps took no time and are left out.
 */
export function criticalSteps(root: TraceNode): readonly TraceNode[] {
  const isEnclosing = ({ span }: TraceNode): boolean => stepNumber(span) === ENCLOSING_STEP
  const parts = root.children
    .flatMap((node) => (isEnclosing(node) ? node.children : [node]))
    .filter(({ span }) => span.attributes['step.state'] !== 'skipped')
    .sort((a, b) => b.span.endUs - a.span.endUs)
  const path: TraceNode[] = []
  let untilUs = Number.POSITIVE_INFINITY
  for (const node of parts) {
    const { startUs, endUs } = node.span
    if (endUs > untilUs) continue
    path.unshift(node)
    untilUs = Math.min(untilUs, startUs + GAP_US, endUs)
  }
  return path
}

/** Ids of the spans on the critical path: its steps, and within each span on it the part that took longest. */
export function criticalSpans(root: TraceNode): ReadonlySet<string> {
  const ids = new Set<string>()
  for (const step of criticalSteps(root))
    for (let node: TraceNode | undefined = step; node !== undefined; node = slowestOf(node)) ids.add(node.span.spanId)
  return ids
}

function slowestOf({ children }: TraceNode): TraceNode | undefined {
  const tookUs = ({ span }: TraceNode): number => span.endUs - span.startUs
  return children
    .filter(({ span }) => span.attributes['step.state'] !== 'skipped')
    .toSorted((a, b) => tookUs(b) - tookUs(a) || b.span.endUs - a.span.endUs)[0]
}
