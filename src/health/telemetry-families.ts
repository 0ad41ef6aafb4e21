import type { SpoolFigures } from '../emit/delivery.ts'
import { counter, type Family, gauge, known } from './families.ts'

/** What the spool of traces holds, and how far it is delivered. */
export function telemetryFamilies(figures: SpoolFigures): readonly Family[] {
  const { spoolBytes, undeliveredBytes, lostSpans, deliveredSpans, lastDeliveryUs } = figures
  return [
    gauge('comfy_machine_telemetry_spool_bytes', 'Bytes of the spool of traces on disk.', known(spoolBytes)),
    gauge(
      'comfy_machine_telemetry_undelivered_bytes',
      'Bytes of the spool that the collector does not have yet.',
      known(undeliveredBytes),
    ),
    counter(
      'comfy_machine_telemetry_lost_spans_total',
      'Spans that were given up undelivered, the oldest first, because there was no room.',
      known(lostSpans),
    ),
    counter(
      'comfy_machine_telemetry_delivered_spans_total',
      'Spans that the collector has taken.',
      known(deliveredSpans),
    ),
    gauge(
      'comfy_machine_telemetry_last_delivery_timestamp_seconds',
      'When the collector last took spans; absent before the first time.',
      known(lastDeliveryUs === 0 ? undefined : lastDeliveryUs / 1e6),
    ),
  ]
}
