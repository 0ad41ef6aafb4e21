import type { Recorder } from './emit/recorder.ts'
import { interruptedSpan } from './emit/root-spans.ts'
import { readSpans } from './emit/segments.ts'
import { readStartupRecord, type StartupRecord, writeStartupRecord } from './emit/startup-record.ts'
import { messageOf } from './errors.ts'
import type { Files } from './host/ports.ts'
import { TELEMETRY_DIRECTORY } from './plan/plan.ts'
import { rootSpanId } from './trace-context.ts'

/** The startup before this one, as far as it is on record. */
export function readPrevious(files: Files): Promise<StartupRecord | undefined> {
  return readStartupRecord(files, TELEMETRY_DIRECTORY)
}

/** Links a new startup to the one before it, when that was not stopped, and ends the trace of one that nobody ended. */
export async function followPrevious(
  files: Files,
  recorder: Recorder,
  previous: StartupRecord | undefined,
): Promise<void> {
  const { bootId } = recorder.machine.state
  if (previous === undefined || previous.phase === 'stopped') return
  recorder.note({ follows: { traceId: previous.traceId, reason: reasonOf(previous, bootId) } })
  if (previous.phase !== 'starting') return
  const all = await readSpans(files, TELEMETRY_DIRECTORY, previous.traceId)
  const spans = all.filter(({ traceId }) => traceId === previous.traceId)
  if (spans.some(({ spanId }) => spanId === rootSpanId(previous.traceId))) return
  recorder.record(interruptedSpan(previous, spans))
}

/** Keeps how far this startup has come, where it survives a reboot; says so when it cannot. */
export async function keepPhase(files: Files, recorder: Recorder, isFirst: boolean): Promise<void> {
  const { traceId, bootId, startedUs, phase } = recorder.machine.state
  const record: StartupRecord = { schema: 1, traceId, bootId, startedUs, isFirst, phase }
  await writeStartupRecord(files, TELEMETRY_DIRECTORY, record).catch((error: unknown) =>
    recorder.warn(`how far this start has come is not kept: ${messageOf(error)}`),
  )
}

function reasonOf(previous: StartupRecord, bootId: string): string {
  if (previous.phase === 'failed') return 'restart after a failed start'
  return previous.bootId === bootId ? 'restart after the controller ended' : 'restart after the host went down'
}
