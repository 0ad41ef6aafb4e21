import { randomBytes } from 'node:crypto'
import { expect } from 'vitest'
import { STEPS } from '../../src/steps.ts'
import { type ReceivedSpan, readSpans } from '../fixtures/spans.ts'
import type { Host } from './host.ts'

/** A trace that is whole. */
export interface WholeTrace {
  readonly root: ReceivedSpan
  /** The span of each step by its number. */
  readonly steps: ReadonlyMap<number, ReceivedSpan>
}

/** The root and the 21 step spans of a trace, which must be whole: nothing lost, nothing told twice. */
export function wholeTrace(spans: readonly ReceivedSpan[]): WholeTrace {
  expect(doubledIds(spans)).toEqual([])
  const roots = spans.filter(({ parentSpanId }) => parentSpanId === '')
  expect(roots.map(({ name }) => name)).toEqual(['machine.startup'])
  const [root] = roots
  if (root === undefined) throw new Error('there is no root')
  const own = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId)
  expect(own.map(({ name }) => name).sort()).toEqual(STEPS.map(({ event }) => event).sort())
  expect(root.events.map(({ name }) => name).sort()).toEqual(STEPS.map(({ event }) => event).sort())
  return { root, steps: new Map(own.map((span) => [Number(span.attributes['step_number']), span])) }
}

/** Ids of spans that came more than once. */
export function doubledIds(spans: readonly ReceivedSpan[]): readonly string[] {
  const ids = spans.map(({ traceId, spanId }) => `${traceId}/${spanId}`)
  return ids.filter((id, index) => ids.indexOf(id) !== index)
}

/** What the collector has got of one trace so far. */
export async function spansOf(host: Host, traceId: string): Promise<readonly ReceivedSpan[]> {
  return (await readSpans(host)).filter((span) => span.traceId === traceId)
}

/** Resolves when the delivery has nothing left to do: each outbox is delivered to its end. */
export async function waitForDelivery(host: Host, timeoutMs = 30_000): Promise<void> {
  const isDelivered = [
    `cd ${TELEMETRY}; for box in $(ls); do [ -d $box ] || continue`,
    'case $box in delivered|pending) continue;; esac',
    'last=$(ls $box | grep ndjson | tail -1); [ -n "$last" ] || continue',
    'number=$(basename $last .ndjson | sed "s/^0*//")',
    'grep -q "\\"segment\\":$number,\\"offset\\":$(stat -c %s $box/$last)," delivered/$box.json || exit 1',
    'done',
  ]
  await host.waitFor(isDelivered.join('\n'), timeoutMs)
}

/** Where the outboxes are on a host. */
export const TELEMETRY = '/var/lib/comfy-machine/telemetry'

/** Spans that nobody has delivered, as the lines of an outbox; all of one trace, with ids from 1 on. */
export function undelivered(traceId: string, count: number): string {
  const spans = Array.from({ length: count }, (_, index) => {
    const at = 1_700_000_000_000_000 + index
    return {
      traceId,
      spanId: (index + 1).toString(16).padStart(16, '0'),
      name: 'backlog',
      startUs: at,
      endUs: at + 1,
      attributes: { index, padding: 'x'.repeat(250) },
      events: [],
      links: [],
      resource: { 'service.name': 'comfy-machine' },
    }
  })
  return spans.map((span) => `${JSON.stringify(span)}\n`).join('')
}

/** Gives a host an outbox of its own with that many undelivered spans and has them delivered; returns their trace id. */
export async function addBacklog(host: Host, name: string, count: number): Promise<string> {
  const traceId = randomBytes(16).toString('hex')
  await host.write(`${TELEMETRY}/${name}/00000001.ndjson`, undelivered(traceId, count))
  await host.must(`touch ${TELEMETRY}/pending/${name}`)
  return traceId
}

/** What arrived of a backlog: how many of its spans did not, and how many came more than once. */
export async function countArrivals(
  host: Host,
  traceId: string,
  count: number,
): Promise<{ readonly lost: number; readonly doubled: number }> {
  const spans = await spansOf(host, traceId)
  const ids = new Set(spans.map(({ spanId }) => spanId))
  return { lost: count - ids.size, doubled: spans.length - ids.size }
}

/** How many spans of an outbox the delivery has noted as delivered. */
export async function countDelivered(host: Host, name: string): Promise<number> {
  const { stdout } = await host.exec(['cat', `${TELEMETRY}/delivered/${name}.json`])
  return stdout === '' ? 0 : (JSON.parse(stdout) as { readonly spans: number }).spans
}
