import { messageOf } from '../errors.ts'
import type { JobOutcome, Journal, QueuedJob } from '../host/ports.ts'
import { type ExecutionTimes, foldTimes, NOT_EXECUTED } from './execution-times.ts'
import { type JobRequest, parseJob } from './job.ts'
import type { FailureReason, JobAccount } from './job-account.ts'
import { type JobTrace, jobFields, withContext } from './job-trace.ts'
import { collectOutputs, type JobOutput, type JobResult, listOutputs } from './outputs.ts'
import { pendingOf } from './pending-models.ts'
import { type PromptPorts, type PromptResult, runPrompt } from './run-prompt.ts'
import { createThrottle } from './throttle.ts'

const PROGRESS_MS = 100
const TRACEBACK_CHARS = 8000

/** What a job needs of the outside world. */
export interface JobPorts extends PromptPorts {
  readonly journal: Journal
  /** Paths of models that are loaded after the start and are not there yet. */
  pendingModels(): Promise<readonly string[]>
}

/** What is found out about a job on its way. */
interface Trail {
  request?: JobRequest
  promptId?: string
  execution: ExecutionTimes
  reason?: FailureReason
  outputs: readonly JobOutput[]
}

/** Runs one job: its data checked, its prompt followed, its files collected; the account has the outcome. Never throws. */
export async function processJob(
  ports: JobPorts,
  job: QueuedJob,
  trace: JobTrace,
  signal: AbortSignal,
): Promise<JobAccount> {
  const { clock, journal } = ports
  const startUs = clock.nowUs()
  const trail: Trail = { execution: NOT_EXECUTED, outputs: [] }
  const outcome = await perform({ ports, job, trace, trail, startUs }, signal).catch((error: unknown): JobOutcome => {
    trail.reason = 'internal'
    return { kind: 'failed', message: messageOf(error), isRetriable: true }
  })
  const endUs = clock.nowUs()
  const ms = Math.round((endUs - startUs) / 1000)
  const fields = { ...jobFields(job.id, trace), COMFY_DURATION_MS: String(ms) }
  if (outcome.kind === 'failed') {
    journal.write({ message: `job ${job.id} failed: ${outcome.message}`, priority: 'warning', fields })
  } else {
    journal.write({ message: `job ${job.id} ${outcome.kind} in ${ms} ms`, priority: 'info', fields })
  }
  return { ...toAccount(job, trail), trace, startUs, endUs, outcome }
}

interface Work {
  readonly ports: JobPorts
  readonly job: QueuedJob
  readonly trace: JobTrace
  readonly trail: Trail
  readonly startUs: number
}

async function perform(work: Work, signal: AbortSignal): Promise<JobOutcome> {
  const { ports, job, trace, trail, startUs } = work
  const request = parseJob(job.data)
  if (typeof request === 'string') {
    trail.reason = 'invalid'
    return { kind: 'failed', message: request, isRetriable: false }
  }
  trail.request = request
  const throttle = createThrottle(ports.clock, PROGRESS_MS, job.progress, 'held')
  const result = await runPrompt(
    ports,
    { ...request, extraData: withContext(request.extraData, trace) },
    {
      queued: (promptId) => {
        trail.promptId = promptId
      },
      message: (message, atUs) => {
        trail.execution = foldTimes(trail.execution, message, atUs)
      },
      progress: throttle.offer,
    },
    signal,
  )
  // A producer that is told of progress reads that first, and a quick job's end a round trip later.
  throttle.flush()
  if (result.kind === 'refused') return refused(work, request, result)
  if (result.kind !== 'done') return failed(work, result)
  trail.outputs = await collectOutputs(ports.comfyui.view, listOutputs(result.history))
  const value: JobResult = {
    prompt_id: result.promptId,
    trace_id: trace.own.traceId,
    duration_ms: Math.round((ports.clock.nowUs() - startUs) / 1000),
    outputs: trail.outputs,
  }
  return { kind: 'completed', value }
}

/** A workflow that only lacks what is still on its way may be tried again. */
async function refused(
  { ports, trail }: Work,
  { workflow }: JobRequest,
  { message, body }: Extract<PromptResult, { kind: 'refused' }>,
): Promise<JobOutcome> {
  trail.reason = 'refused'
  const pending = await ports.pendingModels().catch((error: unknown): readonly string[] => {
    ports.journal.write({
      message: `which models are still loaded is not known: ${messageOf(error)}`,
      priority: 'warning',
    })
    return []
  })
  const missing = pendingOf(workflow, body, pending)
  if (missing.length === 0) return { kind: 'failed', message, isRetriable: false }
  const words = missing.map((model) => `model ${model} is still being loaded (after_start)`)
  return { kind: 'failed', message: [...words, message].join('; '), isRetriable: true }
}

function failed(
  { ports, job, trace, trail }: Work,
  result: Exclude<PromptResult, { kind: 'done' | 'refused' }>,
): JobOutcome {
  if (result.kind === 'given-up') return { kind: 'returned' }
  trail.reason = result.kind
  switch (result.kind) {
    case 'interrupted':
      return { kind: 'failed', message: 'the prompt was interrupted in ComfyUI', isRetriable: false }
    case 'lost':
      return { kind: 'failed', message: result.message, isRetriable: true }
    case 'error':
      if (result.traceback !== '') {
        const message = result.traceback.slice(-TRACEBACK_CHARS)
        ports.journal.write({ message, priority: 'info', fields: jobFields(job.id, trace) })
      }
      return { kind: 'failed', message: result.message, isRetriable: true }
  }
}

function toAccount(job: QueuedJob, trail: Trail): Omit<JobAccount, 'trace' | 'startUs' | 'endUs' | 'outcome'> {
  const { promptId, reason, execution, outputs } = trail
  const workflow = trail.request?.workflow ?? {}
  const types = execution.nodes.map(({ id }) => [
    id,
    (workflow[id] as { class_type?: unknown } | undefined)?.class_type,
  ])
  return {
    jobId: job.id,
    queue: job.queue,
    attempt: job.attempt,
    ...(reason === undefined ? {} : { reason }),
    ...(promptId === undefined ? {} : { promptId }),
    execution,
    nodeTypes: Object.fromEntries(types.filter(([, type]) => typeof type === 'string')),
    outputs: outputs.length,
    outputBytes: outputs.reduce((sum, { bytes }) => sum + bytes, 0),
  }
}
