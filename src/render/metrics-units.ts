import type { MachinePlan } from '../plan/plan.ts'
import type { UnitToRender } from './unit-values.ts'

const DEFAULT_INTERVAL_MS = 60_000

/** Values that every unit has. */
export interface CommonValues {
  readonly logFields: readonly string[]
  readonly credentials: readonly string[]
  readonly secrets: string
}

/**
 * The timer that pushes metrics over OTLP, and what it starts; none unless OTEL_METRICS_EXPORTER has `otlp` and there is an
 * endpoint (opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables).
 */
export function metricsUnits(plan: MachinePlan, values: CommonValues): readonly UnitToRender[] {
  if (!pushesMetrics(plan)) return []
  return [
    { name: 'comfy-metrics.service', template: 'comfy-metrics.service', values: { ...values } },
    { name: 'comfy-metrics.timer', template: 'comfy-metrics.timer', values: { intervalMs: intervalMs(plan) } },
  ]
}

function pushesMetrics({ environment, secretNames }: MachinePlan): boolean {
  const exporters = (environment['OTEL_METRICS_EXPORTER'] ?? '').split(',').map((name) => name.trim())
  const hasEndpoint = [...Object.keys(environment), ...secretNames].some((name) =>
    /^OTEL_EXPORTER_OTLP_(METRICS_)?ENDPOINT$/.test(name),
  )
  return exporters.includes('otlp') && hasEndpoint
}

function intervalMs({ environment }: MachinePlan): number {
  const given = Number(environment['OTEL_METRIC_EXPORT_INTERVAL'] ?? Number.NaN)
  return Number.isInteger(given) && given > 0 ? given : DEFAULT_INTERVAL_MS
}
