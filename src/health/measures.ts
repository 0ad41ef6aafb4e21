import path from 'node:path'
import { readSpoolFigures, type SpoolFigures } from '../emit/delivery.ts'
import type { Files } from '../host/ports.ts'
import type { MachineState, WorkerState } from '../observe/state.ts'
import { RUN_DIRECTORY, TELEMETRY_DIRECTORY } from '../plan/plan.ts'
import { reportDirectory } from '../render/unit-values.ts'
import { JOB_COUNTERS_FILE, type JobCounters } from '../worker/job-counters.ts'

/** The counters of one worker. */
export interface WorkerCounters {
  readonly worker: WorkerState
  readonly counters: JobCounters
}

/** What is measured outside the controller. */
export interface Measures {
  readonly jobs: readonly WorkerCounters[]
  readonly telemetry?: SpoolFigures
}

/** Nothing was measured. */
export const NO_MEASURES: Measures = { jobs: [] }

/** Reads what the workers of a machine keep and what the spool of traces holds; what is not there, or is none of ours, is left out. */
export async function readMeasures(files: Files, state: MachineState | undefined): Promise<Measures> {
  const [telemetry, ...jobs] = await Promise.all([
    readSpoolFigures(files, TELEMETRY_DIRECTORY),
    ...(state?.workers ?? []).map((worker) => readCounters(files, worker)),
  ])
  return { jobs: jobs.flat(), telemetry }
}

async function readCounters(files: Files, worker: WorkerState): Promise<readonly WorkerCounters[]> {
  const text = await files.readForeign(path.join(RUN_DIRECTORY, reportDirectory(worker.unit), JOB_COUNTERS_FILE))
  const counters = parseObject(text)
  return isCounters(counters) ? [{ worker, counters }] : []
}

function isCounters(value: unknown): value is JobCounters {
  const { jobs, duration } = (value ?? {}) as Partial<JobCounters>
  return jobs !== undefined && Array.isArray(duration?.buckets)
}

function parseObject(text: string | undefined): unknown {
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
