import { type HrTime, type SpanContext, SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import type { Attributes } from '../report.ts'
import { VERSION } from '../version.ts'
import type { SpanRecord } from './ports.ts'

type ExportedSpan = Parameters<OTLPTraceExporter['export']>[0][number]
type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Delivers spans to the collector of the standard OTEL_* variables. */
export interface TraceExporter {
  /** Resolves when the collector has taken all of them; rejects when it has not. */
  send(spans: readonly SpanRecord[]): Promise<void>
  close(): Promise<void>
}

const OK = 0
/**
 * A collector that hangs may have read the request: it is waited for, as long as the connection lives, because to send
 * the same spans again would double them when it wakes. A connection that dies ends the wait at once.
 */
const PATIENCE_MS = 86_400_000

/** An OTLP gRPC exporter configured by `settings`, the standard OTEL_* variables. */
export function openExporter(settings: Readonly<Record<string, string>>): TraceExporter {
  // The exporter reads its standard variables from the environment of the process only.
  Object.assign(process.env, settings)
  const isTimed = Object.keys(settings).some((name) => /^OTEL_EXPORTER_OTLP_(TRACES_)?TIMEOUT$/.test(name))
  const exporter = new OTLPTraceExporter(isTimed ? {} : { timeoutMillis: PATIENCE_MS })
  return {
    send: (spans) => exportAll(exporter, toExported(spans)),
    // Shutting down a connection that never came about is refused by the exporter; there is nothing left to do then.
    close: async () => {
      await Promise.allSettled([exporter.shutdown()])
    },
  }
}

/** Records as the exporter takes them; spans in a row with equal resources share one, because it groups by the object. */
function toExported(records: readonly SpanRecord[]): ExportedSpan[] {
  let last: { readonly attributes: Attributes; readonly resource: ExportedSpan['resource'] } | undefined
  return records.map((record) => {
    const attributes = record.resource
    if (last === undefined || !isEqual(last.attributes, attributes))
      last = { attributes, resource: resourceFromAttributes(attributes) }
    return toSpan(record, last.resource)
  })
}

function isEqual(one: Attributes, other: Attributes): boolean {
  const names = Object.keys(one)
  return names.length === Object.keys(other).length && names.every((name) => one[name] === other[name])
}

const SCOPE = { name: 'comfy-machine', version: VERSION }
const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const

const contextOf = (traceId: string, spanId: string): SpanContext => {
  return { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: false }
}

// In one piece, without spreads: it is made for every span of a backlog.
function toSpan(record: SpanRecord, resource: ExportedSpan['resource']): ExportedSpan {
  const { traceId, parentSpanId, error } = record
  const context = contextOf(traceId, record.spanId)
  const span: Writable<ExportedSpan> = {
    name: record.name,
    kind: KINDS[record.kind ?? 'internal'],
    spanContext: () => context,
    startTime: hrTime(record.startUs),
    endTime: hrTime(record.endUs),
    duration: hrTime(Math.max(0, record.endUs - record.startUs)),
    status: error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: error },
    attributes: record.attributes,
    events: record.events.map(({ name, atUs, attributes }) => ({ name, time: hrTime(atUs), attributes })),
    links: record.links.map((link) => {
      return { context: contextOf(link.traceId, link.spanId), attributes: link.attributes ?? {} }
    }),
    ended: true,
    resource,
    instrumentationScope: SCOPE,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  }
  if (parentSpanId !== undefined) span.parentSpanContext = contextOf(traceId, parentSpanId)
  return span
}

function exportAll(exporter: OTLPTraceExporter, spans: ExportedSpan[]): Promise<void> {
  return new Promise((resolve, reject) => {
    exporter.export(spans, ({ code, error }) => {
      if (code === OK) resolve()
      else reject(error ?? new Error('the collector refused the spans'))
    })
  })
}

const hrTime = (us: number): HrTime => [Math.floor(us / 1_000_000), Math.round((us % 1_000_000) * 1_000)]
