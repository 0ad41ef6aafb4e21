import { type MachineError, messageOf } from '../errors.ts'
import type { InstallHost } from '../host/install-ports.ts'
import type { Priority } from '../host/ports.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { Attributes, Progress, ReportedAttempt, ReportedFailure, ReportedWork } from '../report.ts'
import type { Step } from '../steps.ts'
import { spanIdOfInvocation, spanIdOfWork } from '../trace-context.ts'

/** How much longer a start may take after a sign of progress, in milliseconds. */
export const PROGRESS_MS = 10 * 60_000

/** What an installer works with. */
export interface InstallContext {
  readonly plan: MachinePlan
  readonly host: InstallHost
  /** The step that this installer is. */
  readonly step: Step
}

/** Writes one line to the journal with the fields of the installer's step; it belongs to the step's span unless `fields` say otherwise. */
export function note(
  context: InstallContext,
  message: string,
  priority: Priority = 'info',
  fields: Readonly<Record<string, string>> = {},
): void {
  const { number, event, phase } = context.step
  const { invocationId } = context.host
  const step = { COMFY_STEP: String(number), COMFY_EVENT: event, COMFY_PHASE: phase, COMFY_STATE: 'running' }
  const span = invocationId === '' ? {} : { SPAN_ID: spanIdOfInvocation(invocationId) }
  const trace = { TRACE_ID: context.plan.traceId, ...span }
  context.host.journal.write({ message, priority, fields: { ...step, ...trace, ...fields } })
}

/** The span id of a child of this step, by the keys that lead to it. */
export function spanOf({ host, plan }: InstallContext, ...keys: readonly string[]): string {
  return spanIdOfWork(host.invocationId || plan.traceId, keys)
}

/** Says what goes on now, for people and where known in numbers, and moves the deadline of the start. */
export function progress(context: InstallContext, text: string, numbers?: Progress): void {
  if (numbers !== undefined) writeProgress(context, numbers)
  context.host.notify.status(text)
  context.host.notify.extend(PROGRESS_MS)
}

const silent = new WeakSet<object>()

/** Writes how far the work is. It is for people who look: where it cannot be written the work goes on. */
export function writeProgress(context: InstallContext, numbers: Progress): void {
  try {
    context.host.progress.write(numbers)
  } catch (error) {
    if (!silent.has(context)) note(context, `the progress cannot be shown: ${messageOf(error)}`, 'warning')
    silent.add(context)
  }
}

/** Moves the deadline of the start at most once in five seconds; for lines and bytes that come in numbers. */
export function createHeartbeat(host: InstallHost): () => void {
  let lastUs = 0
  return () => {
    const nowUs = host.clock.nowUs()
    if (nowUs - lastUs < 5_000_000) return
    lastUs = nowUs
    host.notify.extend(PROGRESS_MS)
  }
}

/** A failure as it stands in reports. */
export function toReported(error: MachineError): ReportedFailure {
  return { code: error.code, type: error.type, message: error.message, hint: error.hint }
}

const attempts = new WeakMap<object, number>()

/** Remembers at which try (from 1) something failed for good. */
export function markAttempt(error: MachineError, attempt: number): void {
  attempts.set(error, attempt)
}

/** The try at which something failed for good; 1 when it was tried once. */
export function attemptOf(error: MachineError): number {
  const { cause } = error
  return attempts.get(error) ?? (typeof cause === 'object' && cause !== null ? attempts.get(cause) : undefined) ?? 1
}

/** Records an attempt that failed and is tried again; `attempt` counts from 1, `fields` go on the journal line. */
export function reportAttempt(
  context: InstallContext,
  error: MachineError,
  attempt: number,
  fields: Readonly<Record<string, string>> = {},
): ReportedAttempt {
  const failed = { ...toReported(error), atUs: context.host.clock.nowUs(), attempt }
  context.host.report.write({ kind: 'failure', ...failed })
  note(context, `${error.message}; trying again (try ${attempt} failed)`, 'warning', {
    ...fields,
    COMFY_ERROR_CODE: error.code,
    COMFY_ERROR_TYPE: error.type,
  })
  return failed
}

/** Adds evidence to the attributes of the step. */
export function reportFacts(context: InstallContext, attributes: Attributes): void {
  context.host.report.write({ kind: 'fact', attributes })
}

/** One piece of the step's work that has ended; now, unless `endUs` says when. */
export interface ChildEnd {
  readonly name: string
  readonly key?: string
  readonly startUs: number
  readonly endUs?: number
  readonly state: 'done' | 'skipped' | 'failed'
  readonly attributes: Attributes
  readonly error?: MachineError
  /** Attempts that failed before. */
  readonly attempts?: readonly ReportedAttempt[]
  readonly children?: readonly ReportedWork[]
}

/** Records a child of the step in the report. */
export function reportChild(context: InstallContext, child: ChildEnd): void {
  const { error, attempts = [], children = [], ...rest } = child
  const endUs = child.endUs ?? (child.state === 'skipped' ? child.startUs : context.host.clock.nowUs())
  const failure = error === undefined ? undefined : toReported(error)
  const last =
    error === undefined || failure === undefined ? [] : [{ ...failure, atUs: endUs, attempt: attemptOf(error) }]
  const all = [...attempts, ...last]
  context.host.report.write({
    kind: 'child',
    ...rest,
    endUs,
    ...(failure === undefined ? {} : { failure }),
    ...(all.length === 0 ? {} : { attempts: all }),
    ...(children.length === 0 ? {} : { children }),
  })
}

/** Runs `work` for every item, at most `limit` at once; results in the order of the items. */
export async function mapLimited<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = new Array<R>(items.length)
  let next = 0
  const runner = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      results[index] = await work(items[index] as T)
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, runner))
  return results
}

/** A JSON file of the machine; undefined when it is missing or is not an object of schema 1. */
export function parseRecord<T extends { readonly schema: 1 }>(text: string | undefined): T | undefined {
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    const known = typeof value === 'object' && value !== null && 'schema' in value && value.schema === 1
    return known ? (value as T) : undefined
  } catch {
    return undefined
  }
}
