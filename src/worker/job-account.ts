import type { JobOutcome } from '../host/ports.ts'
import type { ExecutionTimes } from './execution-times.ts'
import type { JobTrace } from './job-trace.ts'

/** Why a job failed: its data, ComfyUI's refusal, an interruption in ComfyUI, a lost ComfyUI, a node, or anything else. */
export type FailureReason = 'invalid' | 'refused' | 'interrupted' | 'lost' | 'error' | 'internal'

/** Everything to be told of one job that this worker is done with. Times are microseconds since the epoch. */
export interface JobAccount {
  readonly jobId: string
  readonly queue: string
  /** 1 for the first attempt. */
  readonly attempt: number
  readonly trace: JobTrace
  readonly startUs: number
  readonly endUs: number
  readonly outcome: JobOutcome
  /** Present when it failed. */
  readonly reason?: FailureReason
  /** Present when ComfyUI took it. */
  readonly promptId?: string
  readonly execution: ExecutionTimes
  /** `class_type` of the nodes by their id. */
  readonly nodeTypes: Readonly<Record<string, string>>
  readonly outputs: number
  readonly outputBytes: number
}
