import type { ComfyMessage, JobProgress } from '../host/ports.ts'

/** How a prompt ended, as ComfyUI told it. */
export type PromptEnd =
  | { readonly kind: 'done' }
  | { readonly kind: 'error'; readonly message: string; readonly traceback: string }
  | { readonly kind: 'interrupted' }

/** What is known of one prompt from ComfyUI's messages. */
export interface PromptState {
  readonly promptId: string
  readonly progress: JobProgress
  /** `execution_success` was seen; the history may not hold the entry yet. */
  readonly hasSucceeded: boolean
  readonly end: PromptEnd | undefined
}

/** A prompt that was just queued. */
export function queuedPrompt(promptId: string): PromptState {
  return {
    promptId,
    progress: { value: 0, max: 1, node: null, prompt_id: promptId },
    hasSucceeded: false,
    end: undefined,
  }
}

/** Folds one message into the state; the very same state when it tells nothing about this prompt. */
export function foldMessage(state: PromptState, { type, data }: ComfyMessage): PromptState {
  if (data['prompt_id'] !== state.promptId || state.end !== undefined) return state
  switch (type) {
    case 'executing':
      return data['node'] === null ? finished(state) : enter(state, text(data['display_node'] ?? data['node']))
    case 'progress':
      return atNode(state, text(data['node']) ?? state.progress.node, Number(data['value']), Number(data['max']))
    case 'progress_state':
      return foldNodes(state, data['nodes'])
    case 'execution_success':
      return { ...state, hasSucceeded: true }
    case 'execution_error':
      return { ...state, end: toError(data) }
    case 'execution_interrupted':
      return { ...state, end: { kind: 'interrupted' } }
    default:
      return state
  }
}

/** The end that a history entry tells of; `done` where an old version keeps no status. */
export function endOfHistory(entry: unknown): PromptEnd {
  const status = record(record(entry)['status'])
  if (status['status_str'] !== 'error') return { kind: 'done' }
  const messages = Array.isArray(status['messages']) ? status['messages'] : []
  for (const message of messages) {
    if (!Array.isArray(message)) continue
    if (message[0] === 'execution_error') return toError(record(message[1]))
    if (message[0] === 'execution_interrupted') return { kind: 'interrupted' }
  }
  return { kind: 'error', message: 'ComfyUI reports an error without saying which', traceback: '' }
}

function finished(state: PromptState): PromptState {
  const { max } = state.progress
  return { ...state, progress: { ...state.progress, value: max, node: null }, end: { kind: 'done' } }
}

function enter(state: PromptState, node: string | null): PromptState {
  return state.progress.node === node ? state : atNode(state, node, 0, 1)
}

function atNode(state: PromptState, node: string | null, value: number, max: number): PromptState {
  if (!Number.isFinite(value) || !Number.isFinite(max)) return state
  const { progress } = state
  if (progress.node === node && progress.value === value && progress.max === max) return state
  return { ...state, progress: { value, max, node, prompt_id: state.promptId } }
}

/** Of all nodes that run, the one told last. */
function foldNodes(state: PromptState, nodes: unknown): PromptState {
  const running = Object.entries(record(nodes)).filter(([, node]) => record(node)['state'] === 'running')
  const last = running.at(-1)
  if (last === undefined) return state
  const node = record(last[1])
  return atNode(state, text(node['display_node_id']) ?? last[0], Number(node['value']), Number(node['max']))
}

function toError(data: Readonly<Record<string, unknown>>): PromptEnd {
  const where = `${text(data['node_type']) ?? 'node'} (node ${text(data['node_id']) ?? '?'})`
  const what = [text(data['exception_type']), text(data['exception_message'])?.trim()].filter(Boolean).join(': ')
  const traceback = Array.isArray(data['traceback']) ? data['traceback'].join('') : ''
  return { kind: 'error', message: `${where}: ${what || 'unknown error'}`, traceback }
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}
}
