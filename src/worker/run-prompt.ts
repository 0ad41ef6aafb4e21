import { messageOf } from '../errors.ts'
import type { Clock, ComfyMessage, ComfySocket, ComfySocketEvent, ComfyUI, JobProgress } from '../host/ports.ts'
import { cancelPrompt } from './cancel-prompt.ts'
import type { JobRequest } from './job.ts'
import { summarizeRefusal } from './job.ts'
import { endOfHistory, foldMessage, type PromptEnd, type PromptState, queuedPrompt } from './prompt-state.ts'

/** ComfyUI may be gone this long before a prompt counts as lost, ms. */
const GONE_MS = 15_000
/** ComfyUI may hold its connection and answer nothing this long (it loads a model), ms. */
const STUCK_MS = 120_000

/** ComfyUI as one worker sees it. */
export interface PromptPorts {
  readonly comfyui: ComfyUI
  readonly socket: ComfySocket
  readonly clock: Clock
  /** Client id of the socket; ComfyUI sends a prompt's messages there. */
  readonly clientId: string
}

/** Who is told what becomes of a prompt while it is followed. */
export interface PromptWatch {
  /** ComfyUI has taken it under this id. */
  queued(promptId: string): void
  /** A message about it that came at `atUs`. */
  message(message: ComfyMessage, atUs: number): void
  progress(progress: JobProgress): void
}

/** How a prompt ended. `lost`: ComfyUI went away or forgot it; `given-up`: the job's signal aborted. */
export type PromptResult =
  | { readonly kind: 'done'; readonly promptId: string; readonly history: unknown }
  | { readonly kind: 'refused'; readonly message: string; readonly body: unknown }
  | { readonly kind: 'error'; readonly message: string; readonly traceback: string }
  | { readonly kind: 'interrupted' }
  | { readonly kind: 'lost'; readonly message: string }
  | { readonly kind: 'given-up' }

/** Submits a workflow and follows it to its end, by messages, and by the history where messages may have been lost. */
export async function runPrompt(
  ports: PromptPorts,
  request: JobRequest,
  watch: PromptWatch,
  signal: AbortSignal,
): Promise<PromptResult> {
  const inbox = openInbox(ports, signal)
  try {
    const { comfyui, clientId } = ports
    const answer = await comfyui.submit(request.workflow, clientId, request.extraData).catch(messageOf)
    if (typeof answer === 'string') return { kind: 'lost', message: `ComfyUI did not take the prompt: ${answer}` }
    if (answer.kind === 'refused') {
      const { status, body } = answer
      return { kind: 'refused', message: summarizeRefusal(status, body), body }
    }
    watch.queued(answer.promptId)
    return await followPrompt(ports, inbox, answer.promptId, watch, signal)
  } finally {
    inbox.close()
  }
}

async function followPrompt(
  ports: PromptPorts,
  inbox: Inbox,
  promptId: string,
  watch: PromptWatch,
  signal: AbortSignal,
): Promise<PromptResult> {
  const { clock } = ports
  let state = queuedPrompt(promptId)
  let mayHaveMissed = !ports.socket.isUp()
  let aliveUs = clock.nowUs()
  for (;;) {
    for (const { event, atUs } of inbox.take()) {
      if (event.kind !== 'message') mayHaveMissed = true
      if (event.kind === 'down') continue
      aliveUs = clock.nowUs()
      if (event.kind === 'message') state = advance(state, event.message, atUs, watch)
    }
    if (state.end?.kind === 'error' || state.end?.kind === 'interrupted') return state.end
    if (signal.aborted) {
      await cancelPrompt(ports, promptId)
      return { kind: 'given-up' }
    }
    if (state.end === undefined && (await inbox.wait(clock, quietMs(state, mayHaveMissed)))) continue
    const sight = await look(ports, promptId)
    if (sight.kind === 'ended') return sight.end.kind === 'done' ? done(promptId, sight.entry) : sight.end
    if (sight.kind === 'unknown')
      return { kind: 'lost', message: 'ComfyUI no longer knows the prompt; it was restarted' }
    if (sight.kind === 'queued') aliveUs = clock.nowUs()
    const silentMs = (clock.nowUs() - aliveUs) / 1000
    if (silentMs > (ports.socket.isUp() ? STUCK_MS : GONE_MS)) {
      const why = sight.kind === 'silent' ? `: ${sight.reason}` : ''
      return { kind: 'lost', message: `ComfyUI did not answer for ${Math.round(silentMs / 1000)} s${why}` }
    }
    if (state.end !== undefined) await inbox.wait(clock, quietMs(state, mayHaveMissed))
  }
}

/** How long to wait for a message before the history is asked, ms. */
function quietMs(state: PromptState, mayHaveMissed: boolean): number {
  if (state.end !== undefined || state.hasSucceeded) return 50
  return mayHaveMissed ? 1000 : 5000
}

function advance(state: PromptState, message: ComfyMessage, atUs: number, watch: PromptWatch): PromptState {
  const next = foldMessage(state, message)
  if (message.data['prompt_id'] === state.promptId) watch.message(message, atUs)
  if (next.progress !== state.progress) watch.progress(next.progress)
  return next
}

function done(promptId: string, history: unknown): PromptResult {
  return { kind: 'done', promptId, history }
}

type Sight =
  | { readonly kind: 'ended'; readonly end: PromptEnd; readonly entry: unknown }
  | { readonly kind: 'queued' }
  | { readonly kind: 'unknown' }
  | { readonly kind: 'silent'; readonly reason: string }

async function look({ comfyui }: PromptPorts, promptId: string): Promise<Sight> {
  try {
    const entry = await comfyui.history(promptId)
    if (entry !== undefined) return { kind: 'ended', end: endOfHistory(entry), entry }
    const { running, pending } = await comfyui.queue()
    if (running.includes(promptId) || pending.includes(promptId)) return { kind: 'queued' }
    const late = await comfyui.history(promptId)
    return late === undefined ? { kind: 'unknown' } : { kind: 'ended', end: endOfHistory(late), entry: late }
  } catch (error) {
    return { kind: 'silent', reason: messageOf(error) }
  }
}

interface Received {
  readonly event: ComfySocketEvent
  readonly atUs: number
}

interface Inbox {
  take(): readonly Received[]
  /** True when something came or the job was given up, false when `ms` went by. */
  wait(clock: Clock, ms: number): Promise<boolean>
  close(): void
}

function openInbox({ socket, clock }: Pick<PromptPorts, 'socket' | 'clock'>, signal: AbortSignal): Inbox {
  let events: Received[] = []
  let waker = new AbortController()
  // With a reason of our own no DOMException is made, and no stack is walked, for each message.
  const wake = (): void => waker.abort('woken')
  const stop = socket.follow((event) => {
    events.push({ event, atUs: clock.nowUs() })
    wake()
  })
  signal.addEventListener('abort', wake)
  return {
    take() {
      const taken = events
      events = []
      return taken
    },
    async wait(clock, ms) {
      if (events.length > 0 || signal.aborted) return true
      waker = new AbortController()
      await clock.sleep(ms, waker.signal)
      return events.length > 0 || signal.aborted
    },
    close() {
      stop()
      signal.removeEventListener('abort', wake)
    },
  }
}
