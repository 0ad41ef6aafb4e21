import type { Finding } from './figures.ts'
import type { BenchOptions } from './machine.ts'
import { benchTelemetryCpu } from './telemetry-cpu.ts'
import { benchExporter } from './telemetry-exporter.ts'
import { benchHungCollector } from './telemetry-hung.ts'

/** What the trace costs: its delivery beside the SDK's, a startup beside a collector that hangs, and the controller's own part. */
export async function benchTelemetry(options: BenchOptions): Promise<readonly Finding[]> {
  return [
    ...(await benchExporter(options)),
    ...(await benchHungCollector(options)),
    ...(await benchTelemetryCpu(options)),
  ]
}
