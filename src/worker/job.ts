import { type TraceContext, toCarrier } from './carrier.ts'

/** A job's data, checked: the graph in ComfyUI's API format and what goes along with it. */
export interface JobRequest {
  readonly workflow: Readonly<Record<string, unknown>>
  readonly extraData: Readonly<Record<string, unknown>> | undefined
}

/** Reads job data; a string is the sentence that says what is wrong with it. */
export function parseJob(data: unknown): JobRequest | string {
  if (!isObject(data)) return 'the job has no data; it must be an object with a "workflow"'
  const workflow = data['workflow']
  if (workflow === undefined) return 'the job has no "workflow"'
  if (!isObject(workflow)) return '"workflow" must be an object of nodes in the API format of ComfyUI'
  if (Array.isArray(workflow['nodes'])) {
    return '"workflow" is in the editor format; export it with "Save (API Format)" or "Export (API)"'
  }
  const nodes = Object.entries(workflow)
  if (nodes.length === 0) return '"workflow" has no nodes'
  for (const [id, node] of nodes) {
    if (!isObject(node)) return `"workflow": node ${id} is not an object`
    if (typeof node['class_type'] !== 'string') return `"workflow": node ${id} has no "class_type"`
  }
  const extraData = data['extra_data']
  if (extraData !== undefined && !isObject(extraData)) return '"extra_data" must be an object'
  return { workflow, extraData }
}

/** The data of a job in a trace: a producer that records no span of its own hands on the context as it came to it. */
export function toJobData(workflow: unknown, context: TraceContext | undefined): Readonly<Record<string, unknown>> {
  return { workflow, ...(context === undefined ? {} : toCarrier(context)) }
}

/** One sentence from ComfyUI's refusal of a prompt: the error and every node's complaints. */
export function summarizeRefusal(status: number, body: unknown): string {
  if (!isObject(body)) return `ComfyUI refused the workflow (HTTP ${status})`
  const error = describeError(body['error']) ?? `HTTP ${status}`
  const complaints = Object.entries(isObject(body['node_errors']) ? body['node_errors'] : {}).flatMap(([id, node]) =>
    describeNode(id, node),
  )
  return [`ComfyUI refused the workflow: ${error}`, ...complaints].join('; ')
}

function describeNode(id: string, node: unknown): string[] {
  if (!isObject(node) || !Array.isArray(node['errors'])) return []
  const errors = node['errors'].map(describeError).filter((error) => error !== undefined)
  return errors.map((error) => `node ${id} (${String(node['class_type'] ?? '?')}): ${error}`)
}

function describeError(error: unknown): string | undefined {
  if (typeof error === 'string') return error
  if (!isObject(error)) return undefined
  const message = String(error['message'] ?? error['type'] ?? 'error')
  const details = error['details']
  return typeof details === 'string' && details !== '' && details !== message ? `${message} (${details})` : message
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
