import type { MachineError } from '../errors.ts'
import type { InstallHost } from '../host/install-ports.ts'
import type { Priority } from '../host/ports.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { Attributes, ReportedFailure } from '../report.ts'
import type { Step } from '../steps.ts'

/** How much longer a start may take after a sign of progress, in milliseconds. */
export const PROGRESS_MS = 10 * 60_000

/** What an installer works with. */
export interface InstallContext {
  readonly plan: MachinePlan
  readonly host: InstallHost
  /** The step that this installer is. */
  readonly step: Step
}

/** Writes one line to the journal with the fields of the installer's step. */
export function note(
  context: InstallContext,
  message: string,
  priority: Priority = 'info',
  fields: Readonly<Record<string, string>> = {},
): void {
  const { number, event, phase } = context.step
  context.host.journal.write({
    message,
    priority,
    fields: { COMFY_STEP: String(number), COMFY_EVENT: event, COMFY_PHASE: phase, COMFY_STATE: 'running', ...fields },
  })
}

/** Says what goes on now, for people, and moves the deadline of the start. */
export function progress(context: InstallContext, text: string): void {
  context.host.notify.status(text)
  context.host.notify.extend(PROGRESS_MS)
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

/** Records an attempt that failed and is tried again; `attempt` counts from 1. */
export function reportAttempt(context: InstallContext, error: MachineError, attempt: number): void {
  context.host.report.write({ kind: 'failure', ...toReported(error), atUs: context.host.clock.nowUs(), attempt })
  note(context, `${error.message}; trying again (try ${attempt} failed)`, 'warning', {
    COMFY_ERROR_CODE: error.code,
    COMFY_ERROR_TYPE: error.type,
  })
}

/** Adds evidence to the attributes of the step. */
export function reportFacts(context: InstallContext, attributes: Attributes): void {
  context.host.report.write({ kind: 'fact', attributes })
}

/** One piece of the step's work that has ended. */
export interface ChildEnd {
  readonly name: string
  readonly startUs: number
  readonly state: 'done' | 'skipped' | 'failed'
  readonly attributes: Attributes
  readonly error?: MachineError
}

/** Records a child of the step in the report. */
export function reportChild(context: InstallContext, child: ChildEnd): void {
  const { name, startUs, state, attributes, error } = child
  const endUs = state === 'skipped' ? startUs : context.host.clock.nowUs()
  const failure = error === undefined ? {} : { failure: toReported(error) }
  context.host.report.write({ kind: 'child', name, startUs, endUs, state, attributes, ...failure })
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
