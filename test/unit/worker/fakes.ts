import type {
  Clock,
  ComfyMessage,
  ComfySocket,
  ComfySocketEvent,
  ComfyUI,
  JobOutcome,
  JobProgress,
  JobSource,
  Journal,
  JournalEntry,
  QueuedJob,
} from '../../../src/host/ports.ts'
import { type JobTrace, openJobTrace } from '../../../src/worker/job-trace.ts'

/** A clock whose time passes only by sleeping: every sleep ends at once, in the order of its due time. */
export function fakeClock(): Clock & { advanceTo(us: number): void } {
  let us = 1_700_000_000_000_000
  return {
    nowUs: () => us,
    async sleep(ms, signal) {
      const dueUs = us + ms * 1000
      await new Promise((resolve) => setImmediate(resolve))
      if (signal?.aborted !== true) us = Math.max(us, dueUs)
    },
    advanceTo(later) {
      us = Math.max(us, later)
    },
  }
}

export function fakeJournal(): Journal & { readonly entries: JournalEntry[] } {
  const entries: JournalEntry[] = []
  return { entries, write: (entry) => entries.push(entry) }
}

export function fakeSocket(): ComfySocket & { emit(event: ComfySocketEvent): void; say(...message: Said): void } {
  const listeners = new Set<(event: ComfySocketEvent) => void>()
  let isUp = true
  const emit = (event: ComfySocketEvent): void => {
    if (event.kind !== 'message') isUp = event.kind === 'up'
    for (const listener of listeners) listener(event)
  }
  return {
    isUp: () => isUp,
    follow(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close: () => listeners.clear(),
    emit,
    say: (type, data) => emit({ kind: 'message', message: message(type, data) }),
  }
}

type Said = [type: string, data: Readonly<Record<string, unknown>>]

export function message(type: string, data: Readonly<Record<string, unknown>> = {}): ComfyMessage {
  return { type, data: { prompt_id: 'p1', ...data } }
}

/** A ComfyUI that knows nothing but what `known` says, and remembers what it was asked. */
export function fakeComfyUI(known: Partial<ComfyUI> = {}): ComfyUI & { readonly asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    systemStats: async () => ({}),
    logs: async () => [],
    objectInfo: async () => ({}),
    extensions: async () => [],
    forget: async (id) => {
      asked.push(`forget ${id}`)
    },
    submit: async () => ({ kind: 'queued', promptId: 'p1' }),
    history: async () => undefined,
    queue: async () => ({ running: [], pending: [] }),
    interrupt: async (id) => {
      asked.push(`interrupt ${id}`)
    },
    dequeue: async (id) => {
      asked.push(`dequeue ${id}`)
    },
    view: async () => ({ contentType: 'image/png', bytes: 3, data: Buffer.from('png') }),
    close: () => undefined,
    ...known,
  }
}

export function fakeJob(data: unknown): QueuedJob & { readonly shown: JobProgress[] } {
  const shown: JobProgress[] = []
  return { id: '7', queue: 'comfyui', data, attempt: 1, shown, progress: (progress) => shown.push(progress) }
}

/** Ids that count up, so that a test knows them: 1 is the first. */
export function countingIds(): (bytes: number) => string {
  let next = 0
  return (bytes) => {
    next += 1
    return next.toString(16).padStart(bytes * 2, '0')
  }
}

/** The trace of a job whose producer gave it none. */
export function fakeTrace(data: unknown = {}): JobTrace {
  return openJobTrace({ data }, countingIds())
}

/** A source with one job at a time, given by `give`. */
export function fakeSource(): JobSource & { give(job: QueuedJob): Promise<JobOutcome>; isPaused(): boolean } {
  let process: ((job: QueuedJob, signal: AbortSignal) => Promise<JobOutcome>) | undefined
  let running: Promise<JobOutcome> | undefined
  let abort = new AbortController()
  let isPaused = false
  return {
    start(next) {
      process = next
    },
    give(job) {
      if (process === undefined) throw new Error('the source was not started')
      abort = new AbortController()
      running = process(job, abort.signal).finally(() => {
        running = undefined
      })
      return running
    },
    pause() {
      isPaused = true
    },
    resume() {
      isPaused = false
    },
    isPaused: () => isPaused,
    abort: () => abort.abort(),
    async idle() {
      await running
    },
    isConnected: () => true,
    onConnection: () => undefined,
    close: async () => undefined,
  }
}
