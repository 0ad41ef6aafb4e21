import { convertLegacyOtlpGrpcOptions, createOtlpGrpcExportDelegate } from '@opentelemetry/otlp-grpc-exporter-base'
import { OtlpEncoder } from './otlp-encoder.ts'
import type { SpanRecord } from './ports.ts'

/** Delivers spans to the collector of the standard OTEL_* variables. */
export interface TraceExporter {
  /** Resolves when the collector has taken all of them; rejects when it has not. */
  send(spans: readonly SpanRecord[]): Promise<void>
  close(): Promise<void>
}

const OK = 0
const METHOD = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
/**
 * A collector that hangs may have read the request: it is waited for, as long as the connection lives, because to send
 * the same spans again would double them when it wakes. A connection that dies ends the wait at once.
 */
const PATIENCE_MS = 86_400_000

type Delegate = ReturnType<typeof createOtlpGrpcExportDelegate<readonly SpanRecord[], object>>

/** An OTLP gRPC exporter configured by `settings`, the standard OTEL_* variables. */
export function openExporter(settings: Readonly<Record<string, string>>): TraceExporter {
  // The exporter reads its standard variables from the environment of the process only.
  Object.assign(process.env, settings)
  const isTimed = Object.keys(settings).some((name) => /^OTEL_EXPORTER_OTLP_(TRACES_)?TIMEOUT$/.test(name))
  const encoder = new OtlpEncoder()
  // The transport, with TLS, headers and compression, is OpenTelemetry's; its spans would have to be made of ours first.
  const delegate: Delegate = createOtlpGrpcExportDelegate(
    convertLegacyOtlpGrpcOptions(isTimed ? {} : { timeoutMillis: PATIENCE_MS }, 'TRACES'),
    { serializeRequest: (spans) => encoder.encode(spans), deserializeResponse: () => ({}) },
    'otlp_grpc_span_exporter',
    { name: 'span', countItems: (spans) => spans.length },
    undefined,
    'TraceExportService',
    METHOD,
  )
  return {
    send: (spans) => exportAll(delegate, spans),
    // Shutting down a connection that never came about is refused by the exporter; there is nothing left to do then.
    close: async () => {
      await Promise.allSettled([delegate.shutdown()])
    },
  }
}

function exportAll(delegate: Delegate, spans: readonly SpanRecord[]): Promise<void> {
  return new Promise((resolve, reject) => {
    delegate.export(spans, ({ code, error }) => {
      if (code === OK) resolve()
      else reject(error ?? new Error('the collector refused the spans'))
    })
  })
}
