import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, trace } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchSpanProcessor, NoopSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { stepSpanOf } from './step-spans.ts'

// Runs inside a test host, bundled into one file: `telemetry-sdk.mjs (sdk|none) COUNT` makes the spans of steps with the SDK's
// tracer and sends them to OTEL_EXPORTER_OTLP_ENDPOINT, or, `none`, only makes them.

// The default size of the processor's queue: what is made beyond it, before the processor has its turn, would be dropped.
const AT_ONCE = 2_048

const [, , way, count = '0'] = process.argv
const processor =
  way === 'sdk' ? new BatchSpanProcessor({ exporter: new OTLPTraceExporter() }) : new NoopSpanProcessor()
const provider = new TracerProvider({
  resource: resourceFromAttributes(stepSpanOf(0).resource),
  spanProcessors: [processor],
})
const tracer = provider.getTracer('comfy-machine')

function makeSpan(index: number): void {
  const { name, traceId, parentSpanId, startUs, endUs, attributes, events, error } = stepSpanOf(index)
  const parent = { traceId, spanId: parentSpanId ?? '', traceFlags: TraceFlags.SAMPLED }
  const context = parentSpanId === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent)
  const span = tracer.startSpan(name, { kind: SpanKind.INTERNAL, attributes, startTime: startUs / 1000 }, context)
  for (const event of events) span.addEvent(event.name, event.attributes, event.atUs / 1000)
  if (error !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: error })
  span.end(endUs / 1000)
}

for (let index = 0; index < Number(count); index += 1) {
  makeSpan(index)
  if (index % AT_ONCE === AT_ONCE - 1) await provider.forceFlush()
}
await provider.shutdown()
