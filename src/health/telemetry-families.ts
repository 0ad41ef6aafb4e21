import { counter, type Family, gauge, known } from './families.ts'
import type { TelemetryStanding } from './measures.ts'

/** How far the delivery of telemetry is. */
export function telemetryFamilies(telemetry: TelemetryStanding): readonly Family[] {
  const { spoolBytes, undeliveredBytes, undeliveredSpans, lostSpans, deliveredSpans, lastDeliveryUs } = telemetry
  return [
    gauge('comfy_machine_telemetry_spool_bytes', 'Bytes of the spool of traces on disk.', known(spoolBytes)),
    gauge(
      'comfy_machine_telemetry_undelivered_bytes',
      'Bytes of the spool that the collector does not have yet.',
      known(undeliveredBytes),
    ),
    gauge(
      'comfy_machine_telemetry_undelivered_spans',
      'Spans that the collector does not have yet.',
      known(undeliveredSpans),
    ),
    counter(
      'comfy_machine_telemetry_lost_spans_total',
      'Spans that were given up because the spool was full.',
      known(lostSpans),
    ),
    counter(
      'comfy_machine_telemetry_delivered_spans_total',
      'Spans that the collector has taken.',
      known(deliveredSpans),
    ),
    gauge(
      'comfy_machine_telemetry_last_delivery_timestamp_seconds',
      'When the collector last took spans.',
      known(lastDeliveryUs === undefined ? undefined : lastDeliveryUs / 1e6),
    ),
  ]
}
