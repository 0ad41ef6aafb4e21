import path from 'node:path'
import type { MachinePlan } from '../plan/plan.ts'
import { rootSpanId, traceparentOf } from '../trace-context.ts'
import { assignment } from './escape.ts'

/** A unit that is to be: its name, the template it comes from, and the prepared values of that template. */
export interface UnitToRender {
  readonly name: string
  readonly template: string
  readonly values: Readonly<Record<string, unknown>>
}

/** Where the controller puts the values of secrets for systemd to hand to units. */
export function secretsDirectory(plan: MachinePlan): string {
  return path.join(plan.paths.run, 'secrets')
}

/** The fields that every journal entry of a unit has, as LogExtraFields= takes them. */
export function logFields(plan: MachinePlan, gpu?: string): readonly string[] {
  const fields = [assignment('COMFY_MACHINE_ID', plan.machineId), assignment('COMFY_TRACE_ID', plan.traceId)]
  return gpu === undefined ? fields : [...fields, assignment('COMFY_GPU', gpu)]
}

/** Hands the trace of the startup to a process and to what it runs, as the OpenTelemetry environment carrier does. */
export function traceEnvironment({ traceId }: MachinePlan): string {
  return assignment('TRACEPARENT', traceparentOf(traceId, rootSpanId(traceId)))
}

/** Tells whether a variable is one of the OpenTelemetry exporters. */
export function isTelemetryName(name: string): boolean {
  return name.startsWith('OTEL_')
}
