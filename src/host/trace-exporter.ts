import { type HrTime, ROOT_CONTEXT, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { NodeSDK } from '@opentelemetry/sdk-node'
import type { Attributes } from '../report.ts'
import type { SpanRecord } from './ports.ts'

type ExportedSpans = Parameters<OTLPTraceExporter['export']>[0]

/** Delivers spans to the collector of the standard OTEL_* variables. */
export interface TraceExporter {
  /** Resolves when the collector has taken all of them; rejects when it has not. */
  send(spans: readonly SpanRecord[]): Promise<void>
  close(): Promise<void>
}

const SCOPE = 'comfy-machine'
const OK = 0

/** An OTLP gRPC exporter configured by `settings`, the standard OTEL_* variables. */
export function openExporter(settings: Readonly<Record<string, string>>): TraceExporter {
  // The SDK and the exporter read their standard variables from the environment of the process only.
  Object.assign(process.env, settings)
  const exporter = new OTLPTraceExporter()
  return {
    async send(spans) {
      for (const group of Map.groupBy(spans, ({ resource }) => JSON.stringify(resource)).values()) {
        const [first] = group
        if (first !== undefined) await exportAll(exporter, await replay(group, first.resource))
      }
    },
    // Shutting down a connection that never came about is refused by the exporter; there is nothing left to do then.
    close: async () => {
      await Promise.allSettled([exporter.shutdown()])
    },
  }
}

/** Makes SDK spans of records, with the recorded ids and times. */
async function replay(records: readonly SpanRecord[], resource: Attributes): Promise<ExportedSpans> {
  const ended: ExportedSpans = []
  let current: SpanRecord | undefined
  const sdk = new NodeSDK({
    autoDetectResources: false,
    resource: resourceFromAttributes(resource),
    metricReaders: [],
    logRecordProcessors: [],
    idGenerator: { generateTraceId: () => current?.traceId ?? '', generateSpanId: () => current?.spanId ?? '' },
    spanProcessors: [
      {
        onStart: () => undefined,
        onEnd: (span) => ended.push(span),
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      },
    ],
  })
  sdk.start()
  for (const record of records) {
    current = record
    startAndEnd(record)
  }
  await sdk.shutdown()
  trace.disable()
  return ended
}

function startAndEnd(record: SpanRecord): void {
  const { traceId, parentSpanId, attributes, links } = record
  const contextOf = (spanId: string, id = traceId) => ({
    traceId: id,
    spanId,
    traceFlags: TraceFlags.SAMPLED,
    isRemote: false,
  })
  const parent = parentSpanId === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, contextOf(parentSpanId))
  const span = trace.getTracer(SCOPE).startSpan(
    record.name,
    {
      startTime: hrTime(record.startUs),
      attributes: { ...attributes },
      links: links.map((link) => ({ context: contextOf(link.spanId, link.traceId) })),
    },
    parent,
  )
  for (const event of record.events) span.addEvent(event.name, { ...event.attributes }, hrTime(event.atUs))
  if (record.error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: record.error })
  span.end(hrTime(record.endUs))
}

function exportAll(exporter: OTLPTraceExporter, spans: ExportedSpans): Promise<void> {
  return new Promise((resolve, reject) => {
    exporter.export(spans, ({ code, error }) => {
      if (code === OK) resolve()
      else reject(error ?? new Error('the collector refused the spans'))
    })
  })
}

const hrTime = (us: number): HrTime => [Math.floor(us / 1_000_000), Math.round((us % 1_000_000) * 1_000)]
