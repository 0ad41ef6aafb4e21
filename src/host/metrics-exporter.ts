import { type HrTime, ValueType } from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
  type ResourceMetrics,
} from '@opentelemetry/sdk-metrics'
import type { Family } from '../health/families.ts'
import {
  type PushedDistribution,
  type PushedMetric,
  type PushedPoint,
  toPushedMetrics,
} from '../health/pushed-metrics.ts'
import type { Attributes } from '../report.ts'
import { systemClock } from './clock.ts'

const SCOPE = 'comfy-machine'
const OK = 0

/**
 * Pushes families once over OTLP gRPC, to the collector of `settings`, the standard OTEL_* variables. Resolves when the
 * collector has taken them; rejects when it has not.
 */
export async function exportMetrics(
  families: readonly Family[],
  resource: Attributes,
  settings: Readonly<Record<string, string>>,
): Promise<void> {
  // The exporter reads its standard variables from the environment of the process only.
  Object.assign(process.env, settings)
  const exporter = new OTLPMetricExporter()
  const metrics = toPushedMetrics(families, systemClock.nowUs()).map(toMetricData)
  try {
    await push(exporter, {
      resource: resourceFromAttributes(resource),
      scopeMetrics: [{ scope: { name: SCOPE }, metrics }],
    })
  } finally {
    // Shutting down a connection that never came about is refused by the exporter; there is nothing left to do then.
    await Promise.allSettled([exporter.shutdown()])
  }
}

function push(exporter: OTLPMetricExporter, metrics: ResourceMetrics): Promise<void> {
  return new Promise((resolve, reject) => {
    exporter.export(metrics, ({ code, error }) => {
      if (code === OK) resolve()
      else reject(error ?? new Error('the collector refused the metrics'))
    })
  })
}

function toMetricData(metric: PushedMetric): MetricData {
  const { name, description, unit } = metric
  const about = {
    descriptor: { name, description, unit, valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  }
  switch (metric.kind) {
    case 'gauge':
      return { ...about, dataPointType: DataPointType.GAUGE, dataPoints: metric.points.map((p) => toPoint(p, p.value)) }
    case 'sum': {
      const dataPoints = metric.points.map((p) => toPoint(p, p.value))
      return { ...about, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints }
    }
    case 'histogram': {
      const dataPoints = metric.points.map((p) => toPoint(p, toHistogram(p.value)))
      return { ...about, dataPointType: DataPointType.HISTOGRAM, dataPoints }
    }
  }
}

function toPoint<T>({ attributes, startUs, endUs }: PushedPoint<unknown>, value: T): DataPoint<T> {
  return { attributes: { ...attributes }, startTime: hrTime(startUs), endTime: hrTime(endUs), value }
}

function toHistogram({ sum, count, bounds, counts }: PushedDistribution): Histogram {
  return { sum, count, buckets: { boundaries: [...bounds], counts: [...counts] } }
}

const hrTime = (us: number): HrTime => [Math.floor(us / 1_000_000), Math.round((us % 1_000_000) * 1_000)]
