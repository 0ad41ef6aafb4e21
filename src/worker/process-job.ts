import { messageOf } from '../errors.ts'
import type { JobOutcome, Journal, QueuedJob } from '../host/ports.ts'
import { parseJob } from './job.ts'
import { collectOutputs, type JobResult, listOutputs } from './outputs.ts'
import { type PromptPorts, type PromptResult, runPrompt } from './run-prompt.ts'
import { createThrottle } from './throttle.ts'

const PROGRESS_MS = 100
const TRACEBACK_CHARS = 8000

/** What a job needs of the outside world. */
export interface JobPorts extends PromptPorts {
  readonly journal: Journal
}

/** Runs one job: its data checked, its prompt followed, its files collected. Never throws. */
export async function processJob(ports: JobPorts, job: QueuedJob, signal: AbortSignal): Promise<JobOutcome> {
  const { clock, journal } = ports
  const startUs = clock.nowUs()
  const outcome = await perform(ports, job, signal, startUs).catch((error: unknown): JobOutcome => {
    return { kind: 'failed', message: messageOf(error), isRetriable: true }
  })
  const ms = Math.round((clock.nowUs() - startUs) / 1000)
  const fields = { COMFY_JOB_ID: job.id, COMFY_DURATION_MS: String(ms) }
  if (outcome.kind === 'failed') {
    journal.write({ message: `job ${job.id} failed: ${outcome.message}`, priority: 'warning', fields })
  } else {
    journal.write({ message: `job ${job.id} ${outcome.kind} in ${ms} ms`, priority: 'info', fields })
  }
  return outcome
}

async function perform(ports: JobPorts, job: QueuedJob, signal: AbortSignal, startUs: number): Promise<JobOutcome> {
  const request = parseJob(job.data)
  if (typeof request === 'string') return { kind: 'failed', message: request, isRetriable: false }
  const throttle = createThrottle(ports.clock, PROGRESS_MS, job.progress, 'held')
  const result = await runPrompt(ports, request, throttle.offer, signal)
  throttle.flush()
  if (result.kind !== 'done') return failed(ports.journal, job, result)
  const outputs = await collectOutputs(ports.comfyui.view, listOutputs(result.history))
  const duration = Math.round((ports.clock.nowUs() - startUs) / 1000)
  const value: JobResult = { prompt_id: result.promptId, duration_ms: duration, outputs }
  return { kind: 'completed', value }
}

function failed(journal: Journal, job: QueuedJob, result: Exclude<PromptResult, { kind: 'done' }>): JobOutcome {
  switch (result.kind) {
    case 'given-up':
      return { kind: 'returned' }
    case 'refused':
      return { kind: 'failed', message: result.message, isRetriable: false }
    case 'interrupted':
      return { kind: 'failed', message: 'the prompt was interrupted in ComfyUI', isRetriable: false }
    case 'lost':
      return { kind: 'failed', message: result.message, isRetriable: true }
    case 'error':
      if (result.traceback !== '') {
        const message = result.traceback.slice(-TRACEBACK_CHARS)
        journal.write({ message, priority: 'info', fields: { COMFY_JOB_ID: job.id } })
      }
      return { kind: 'failed', message: result.message, isRetriable: true }
  }
}
