import type { ErrorCode, ErrorType } from './errors.ts'

/**
 * What a unit's process tells the controller, one JSON object per line of `$RUNTIME_DIRECTORY/report.ndjson`.
 * The file is begun anew at each start of the process. Times are microseconds since the epoch.
 */
export type ReportLine = ReportBegin | ReportChild | ReportStep | ReportFact | ReportShortfall | ReportFailure

/** First line of every report: which invocation of the unit wrote it (`$INVOCATION_ID`, sd_id128 hex). */
export interface ReportBegin {
  readonly kind: 'begin'
  readonly invocationId: string
}

/** A piece of the step's work that becomes a child span: an API call, a node, a model. */
export interface ReportChild extends ReportedWork {
  readonly kind: 'child'
}

/** A piece of work with its times, and the pieces it consists of. */
export interface ReportedWork {
  /** Span name, e.g. `GET /custom-nodes/defaults`, `node comfyui-manager`, `model ae.safetensors`. */
  readonly name: string
  /** What tells it from its siblings; its name where that does. */
  readonly key?: string
  readonly startUs: number
  readonly endUs: number
  readonly state: 'done' | 'skipped' | 'failed'
  readonly attributes: Attributes
  readonly failure?: ReportedFailure
  /** Attempts that failed, oldest first. */
  readonly attempts?: readonly ReportedAttempt[]
  readonly children?: readonly ReportedWork[]
}

/** A step that this process completes beside the one of its unit (15 within comfy-discover). */
export interface ReportStep {
  readonly kind: 'step'
  readonly step: number
  readonly startUs: number
  readonly endUs: number
  readonly attributes: Attributes
}

/** Evidence that is added to the attributes of the unit's step, e.g. `{ "nodes.installed": 4 }`. */
export interface ReportFact {
  readonly kind: 'fact'
  readonly attributes: Attributes
}

/** A part of the machine that is missing, which it goes on without. */
export interface ReportShortfall {
  readonly kind: 'shortfall'
  /** `custom node X`, `model Y`, `prompt`. */
  readonly component: string
  readonly failure: ReportedFailure
}

/** A failed attempt; the last one of a failed process is the reason of the step's failure. */
export interface ReportFailure extends ReportedAttempt {
  readonly kind: 'failure'
}

/** A failure with its time and how often it was tried by then. */
export interface ReportedAttempt extends ReportedFailure {
  readonly atUs: number
  /** 1 for the first attempt. */
  readonly attempt: number
}

/** A failure as it crosses a process boundary. */
export interface ReportedFailure {
  readonly code: ErrorCode
  readonly type: ErrorType
  readonly message: string
  readonly hint: string
}

/** Attributes of a span as OpenTelemetry allows them. */
export type Attributes = Readonly<Record<string, string | number | boolean>>

/** Name of the report file within `$RUNTIME_DIRECTORY`. */
export const REPORT_FILE = 'report.ndjson'

/** How far a process has come, as `progress.json` in `$RUNTIME_DIRECTORY` says it while the process runs. */
export interface ReportedProgress extends Progress {
  /** `$INVOCATION_ID` of the unit whose process wrote it. */
  readonly invocationId: string
}

/** How far a piece of work has come; what nobody can know yet is absent. */
export interface Progress {
  /** Items that are finished, of all that there are to do. */
  readonly done: number
  readonly total: number
  readonly bytes?: number
  readonly totalBytes?: number
  /** Over the last seconds. */
  readonly bytesPerSecond?: number
  readonly remainingMs?: number
  /** Names of what is worked on now. */
  readonly current: readonly string[]
  /** How far each of some of the files is that are worked on now. */
  readonly files?: readonly FileProgress[]
}

/** How far one file is. */
export interface FileProgress {
  readonly name: string
  readonly bytes: number
  readonly totalBytes?: number
  /** Over the last seconds. */
  readonly bytesPerSecond?: number
  readonly remainingMs?: number
}

/** Name of the progress file within `$RUNTIME_DIRECTORY`. */
export const PROGRESS_FILE = 'progress.json'
