import { Server, ServerCredentials, type ServiceDefinition, type UntypedHandleCall } from '@grpc/grpc-js'

// Runs inside a test host, bundled into one file: `telemetry-sink.mjs PORT COUNT` takes traces over OTLP gRPC and only counts them,
// by their ids, so that it costs less than what it measures. Prints a line when it listens, one when it has COUNT spans,
// and, at SIGTERM, {"spans":…,"different":…,"requests":…,"bytes":…}.

// Field numbers of the nested messages down to the span id: resource_spans, scope_spans, spans, span_id (opentelemetry-proto v1).
const PATH_TO_ID = [1, 2, 2, 2]
const LENGTH_DELIMITED = 2

const [, , port, count] = process.argv
const ids = new Set<string>()
const seen = { spans: 0, requests: 0, bytes: 0 }

/** Reads a varint; the position after it comes back in `at`. */
function readVarint(bytes: Buffer, from: { at: number }): number {
  let value = 0
  for (let shift = 1; ; shift *= 128) {
    const byte = bytes[from.at++] ?? 0
    value += (byte & 127) * shift
    if (byte < 128) return value
  }
}

function countIds(bytes: Buffer, depth: number): void {
  const from = { at: 0 }
  while (from.at < bytes.length) {
    const tag = readVarint(bytes, from)
    const kind = tag & 7
    if (kind === LENGTH_DELIMITED) {
      const length = readVarint(bytes, from)
      if (tag >> 3 === PATH_TO_ID[depth]) take(bytes.subarray(from.at, from.at + length), depth)
      from.at += length
    } else if (kind === 0) readVarint(bytes, from)
    else from.at += kind === 1 ? 8 : 4
  }
}

function take(bytes: Buffer, depth: number): void {
  if (depth + 1 < PATH_TO_ID.length) countIds(bytes, depth + 1)
  else {
    seen.spans += 1
    ids.add(bytes.toString('latin1'))
  }
}

const raw = { requestStream: false, responseStream: false, requestSerialize: same, requestDeserialize: same } as const
const service: ServiceDefinition = {
  Export: {
    path: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    ...raw,
    responseSerialize: same,
    responseDeserialize: same,
  },
}

function same(bytes: Buffer): Buffer {
  return bytes
}

const exportTraces: UntypedHandleCall = (call: { request: Buffer }, answer: (error: null, reply: Buffer) => void) => {
  answer(null, Buffer.alloc(0))
  seen.requests += 1
  seen.bytes += call.request.length
  const before = seen.spans
  countIds(call.request, 0)
  if (before < Number(count) && seen.spans >= Number(count)) process.stdout.write('complete\n')
}

const server = new Server({ 'grpc.max_receive_message_length': 64 * 1024 * 1024 })
server.addService(service, { Export: exportTraces })
server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error
  process.stdout.write('listening\n')
})
process.once('SIGTERM', () => {
  process.stdout.write(`${JSON.stringify({ ...seen, different: ids.size })}\n`, () => process.exit(0))
})
