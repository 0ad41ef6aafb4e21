import path from 'node:path'
import type { ServiceDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { describe, expect, test } from 'vitest'
import { OtlpEncoder } from '../../../src/host/otlp-encoder.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { VERSION } from '../../../src/version.ts'

const protoFile = path.join(import.meta.dirname, '../../fixtures/otlp/trace_service.proto')
const definitions = loadSync(protoFile, { longs: String, bytes: String, arrays: false })
const service = definitions['opentelemetry.proto.collector.trace.v1.TraceService'] as ServiceDefinition

function decode(spans: readonly SpanRecord[], encoder = new OtlpEncoder()): unknown {
  return service['Export']?.requestDeserialize(Buffer.from(encoder.encode(spans)))
}

const hex = (text: string): string => Buffer.from(text, 'hex').toString('base64')

const span: SpanRecord = {
  traceId: '0102030405060708090a0b0c0d0e0f10',
  spanId: 'f1f2f3f4f5f6f7f8',
  name: 'machine.step',
  startUs: 1_790_000_000_123_457,
  endUs: 1_790_000_000_999_999,
  attributes: {
    text: 'ComfyUI läuft ✓',
    whole: 300,
    large: 2 ** 52,
    negative: -7,
    deep: -(2 ** 40) - 1,
    part: 0.25,
    yes: true,
    no: false,
  },
  events: [],
  links: [],
  resource: { 'service.name': 'comfy-machine' },
}

describe('a request', () => {
  test('holds everything that a span says', () => {
    const rich: SpanRecord = {
      ...span,
      kind: 'client',
      parentSpanId: '1112131415161718',
      events: [
        { name: 'first', atUs: 1_790_000_000_200_000, attributes: { code: 'CM1901' } },
        { name: 'second', atUs: 4_294_967_296, attributes: {} },
      ],
      links: [{ traceId: '2'.repeat(32), spanId: '3'.repeat(16), attributes: { 'link.reason': 'crash' } }],
      error: 'CM1901: ended',
    }
    expect(decode([rich])).toEqual({
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'comfy-machine' } }] },
          scopeSpans: [
            {
              scope: { name: 'comfy-machine', version: VERSION },
              spans: [
                {
                  traceId: hex(rich.traceId),
                  spanId: hex(rich.spanId),
                  parentSpanId: hex('1112131415161718'),
                  name: 'machine.step',
                  kind: 3,
                  startTimeUnixNano: '1790000000123457000',
                  endTimeUnixNano: '1790000000999999000',
                  attributes: [
                    { key: 'text', value: { stringValue: 'ComfyUI läuft ✓' } },
                    { key: 'whole', value: { intValue: '300' } },
                    { key: 'large', value: { intValue: '4503599627370496' } },
                    { key: 'negative', value: { intValue: '-7' } },
                    { key: 'deep', value: { intValue: String(-(2 ** 40) - 1) } },
                    { key: 'part', value: { doubleValue: 0.25 } },
                    { key: 'yes', value: { boolValue: true } },
                    { key: 'no', value: { boolValue: false } },
                  ],
                  events: [
                    {
                      timeUnixNano: '1790000000200000000',
                      name: 'first',
                      attributes: [{ key: 'code', value: { stringValue: 'CM1901' } }],
                    },
                    { timeUnixNano: '4294967296000', name: 'second' },
                  ],
                  links: [
                    {
                      traceId: hex('2'.repeat(32)),
                      spanId: hex('3'.repeat(16)),
                      attributes: [{ key: 'link.reason', value: { stringValue: 'crash' } }],
                      flags: 0x101,
                    },
                  ],
                  status: { code: 2, message: 'CM1901: ended' },
                  flags: 0x101,
                },
              ],
            },
          ],
        },
      ],
    })
  })

  test('keeps the order of spans and gives each run of equal resources one', () => {
    const other = { 'service.name': 'redis-worker' }
    const numbered = [span.resource, span.resource, other, { ...span.resource }, { ...other, 'host.name': 'a' }].map(
      (resource, index) => ({ ...span, name: `span ${index}`, resource }),
    )
    const { resourceSpans } = decode(numbered) as {
      resourceSpans: { resource: { attributes: { value: object }[] }; scopeSpans: { spans: { name: string }[] }[] }[]
    }
    const names = resourceSpans.map(({ scopeSpans }) =>
      scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)),
    )
    expect(names).toEqual([['span 0', 'span 1'], ['span 2'], ['span 3'], ['span 4']])
    expect(resourceSpans.map(({ resource }) => resource.attributes.length)).toEqual([1, 1, 1, 2])
  })

  test('is the same by an encoder that has encoded others before, and however large it grows', () => {
    const many = Array.from({ length: 1_200 }, (_, index) => ({
      ...span,
      spanId: index.toString(16).padStart(16, '0'),
      attributes: { ...span.attributes, index, id: `id-${index}`, long: 'x'.repeat(index) },
    }))
    const used = new OtlpEncoder()
    used.encode([{ ...span, attributes: { index: '7', whole: '300', yes: 1 } }])
    used.encode(many)
    expect(used.encode(many)).toEqual(new OtlpEncoder().encode(many))
    expect(decode(many, used)).toEqual(decode(many))
    const { resourceSpans } = decode(many, used) as {
      resourceSpans: { scopeSpans: { spans: { attributes: { key: string; value: { stringValue?: string } }[] }[] }[] }[]
    }
    const spans = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((scope) => scope.spans))
    expect(spans.map(({ attributes }) => attributes.find(({ key }) => key === 'id')?.value.stringValue)).toEqual(
      many.map(({ attributes }) => attributes.id),
    )
    expect(spans.map(({ attributes }) => attributes.at(-1)?.value.stringValue?.length ?? 0)).toEqual(
      many.map((_, index) => index),
    )
  })

  test('is empty without spans', () => {
    expect(new OtlpEncoder().encode([])).toHaveLength(0)
  })
})
