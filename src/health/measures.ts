import path from 'node:path'
import type { Files } from '../host/ports.ts'
import type { MachineState, WorkerState } from '../observe/state.ts'
import { reportDirectory } from '../render/unit-values.ts'
import { JOB_COUNTERS_FILE, type JobCounters } from '../worker/job-counters.ts'

const RUN = '/run/comfy-machine'

/** Where the delivery of telemetry keeps how far it is. */
export const TELEMETRY_FILE = path.join(RUN, 'telemetry.json')

/** How far the delivery of telemetry is; each part is absent when nobody has told it. */
export interface TelemetryStanding {
  /** Bytes of the spool on disk. */
  readonly spoolBytes?: number
  readonly undeliveredBytes?: number
  readonly undeliveredSpans?: number
  /** Spans that the bound of the spool has taken. */
  readonly lostSpans?: number
  readonly deliveredSpans?: number
  /** Microseconds since the epoch. */
  readonly lastDeliveryUs?: number
}

/** The counters of one worker. */
export interface WorkerCounters {
  readonly worker: WorkerState
  readonly counters: JobCounters
}

/** What is measured outside the controller. */
export interface Measures {
  readonly jobs: readonly WorkerCounters[]
  readonly telemetry?: TelemetryStanding
}

/** Nothing was measured. */
export const NO_MEASURES: Measures = { jobs: [] }

/** Reads what the workers of a machine and the delivery keep; what is not there, or is none of ours, is left out. */
export async function readMeasures(files: Files, state: MachineState | undefined): Promise<Measures> {
  const read = async (file: string): Promise<unknown> => parseObject(await files.readForeign(file))
  const [telemetry, ...counters] = await Promise.all([
    read(TELEMETRY_FILE),
    ...(state?.workers ?? []).map(async (worker): Promise<readonly WorkerCounters[]> => {
      const found = await read(path.join(RUN, reportDirectory(worker.unit), JOB_COUNTERS_FILE))
      return isCounters(found) ? [{ worker, counters: found }] : []
    }),
  ])
  return {
    jobs: (counters as readonly (readonly WorkerCounters[])[]).flat(),
    ...(telemetry === undefined ? {} : { telemetry: telemetry as TelemetryStanding }),
  }
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
