import { wantsMetrics } from '../config/telemetry.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { UnitToRender } from './common-values.ts'

const DEFAULT_INTERVAL_MS = 60_000

/** Values that every unit has. */
export interface CommonValues {
  readonly logFields: readonly string[]
  readonly credentials: readonly string[]
  readonly secrets: string
}

/** The timer that pushes metrics over OTLP, and what it starts; none unless the standard variables ask for it. */
export function metricsUnits(plan: MachinePlan, values: CommonValues): readonly UnitToRender[] {
  if (!pushesMetrics(plan)) return []
  return [
    { name: 'comfy-metrics.service', template: 'comfy-metrics.service', values: { ...values } },
    { name: 'comfy-metrics.timer', template: 'comfy-metrics.timer', values: { intervalMs: intervalMs(plan) } },
  ]
}

// Of a secret only its name is known here; an endpoint may be one.
function pushesMetrics({ environment, secretNames }: MachinePlan): boolean {
  return wantsMetrics({ ...Object.fromEntries(secretNames.map((name) => [name, 'secret'])), ...environment })
}

function intervalMs({ environment }: MachinePlan): number {
  const given = Number(environment['OTEL_METRIC_EXPORT_INTERVAL'] ?? Number.NaN)
  return Number.isInteger(given) && given > 0 ? given : DEFAULT_INTERVAL_MS
}
