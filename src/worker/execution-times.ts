import type { ComfyMessage } from '../host/ports.ts'

/** When one node ran, microseconds since the epoch. */
export interface NodeTime {
  /** Its id in the workflow. */
  readonly id: string
  readonly startUs: number
  /** Absent while it runs, and when its end was never told. */
  readonly endUs?: number
}

/** When ComfyUI executed a prompt, as far as its messages told. */
export interface ExecutionTimes {
  readonly startUs?: number
  readonly endUs?: number
  readonly nodes: readonly NodeTime[]
  /** Nodes whose earlier result was used again. */
  readonly cachedNodes: number
}

/** Nothing was told yet. */
export const NOT_EXECUTED: ExecutionTimes = { nodes: [], cachedNodes: 0 }

/** A span takes 128 events, and a workflow may have any number of nodes. */
const MOST_NODES = 100

/** Folds one message about the prompt that came at `atUs`. ComfyUI tells only when a node begins: it ends with the next one. */
export function foldTimes(times: ExecutionTimes, { type, data }: ComfyMessage, atUs: number): ExecutionTimes {
  switch (type) {
    case 'execution_start':
      return { ...times, startUs: atUs }
    case 'execution_cached':
      return { ...times, cachedNodes: Array.isArray(data['nodes']) ? data['nodes'].length : 0 }
    case 'executing':
      return data['node'] === null
        ? endTimes(times, atUs)
        : enterNode(times, data['display_node'] ?? data['node'], atUs)
    case 'execution_success':
    case 'execution_error':
    case 'execution_interrupted':
      return endTimes(times, atUs)
    default:
      return times
  }
}

function enterNode(times: ExecutionTimes, id: unknown, atUs: number): ExecutionTimes {
  if (typeof id !== 'string' || times.nodes.at(-1)?.id === id) return times
  const nodes = endNode(times.nodes, atUs)
  return { ...times, nodes: nodes.length < MOST_NODES ? [...nodes, { id, startUs: atUs }] : nodes }
}

// The end is told twice, by execution_success and by the last executing: the first one is nearer to it.
function endTimes(times: ExecutionTimes, atUs: number): ExecutionTimes {
  return times.endUs === undefined ? { ...times, nodes: endNode(times.nodes, atUs), endUs: atUs } : times
}

function endNode(nodes: readonly NodeTime[], atUs: number): readonly NodeTime[] {
  const last = nodes.at(-1)
  return last === undefined || last.endUs !== undefined ? nodes : [...nodes.slice(0, -1), { ...last, endUs: atUs }]
}
