import { describe, expect, test } from 'vitest'
import { deliverAll, readSpoolFigures } from '../../../src/emit/delivery.ts'
import { NO_CURSOR, readCursor } from '../../../src/emit/segments.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { memoryFiles } from './memory-files.ts'

const EMPTY = {
  traceId: 'a'.repeat(32),
  ...{ startUs: 1, endUs: 2, attributes: {}, resource: {}, events: [], links: [] },
}
const lineOf = (id: number, more = ''): string =>
  `${JSON.stringify({ ...EMPTY, spanId: String(id).padStart(16, '0'), name: `ä${more}` })}\n`
const A = '/t/controller/00000001.ndjson'
const B = '/t/controller/00000002.ndjson'

function deliveryOf(texts: Readonly<Record<string, string>>) {
  const files = memoryFiles(texts)
  const taken: number[] = []
  const requests: number[] = []
  let isAway = false
  const stop = new AbortController()
  const host = {
    files,
    clock: { nowUs: () => 5, sleep: async () => undefined },
    telemetry: '/t',
    signal: stop.signal,
    send: async (spans: readonly SpanRecord[]) => {
      if (isAway) throw new Error('14 UNAVAILABLE')
      requests.push(spans.length)
      taken.push(...spans.map(({ spanId }) => Number(spanId)))
    },
  }
  const away = (is: boolean): void => {
    isAway = is
  }
  return { files, host, taken, requests, stop, away }
}

describe('a delivery', () => {
  test('takes every outbox in the order in which it was written, once', async () => {
    const { host, taken, files } = deliveryOf({
      [A]: lineOf(1) + lineOf(2),
      [B]: lineOf(3),
      '/t/worker-gpu0/00000001.ndjson': lineOf(4),
    })
    expect(await deliverAll(host)).toBe(4)
    expect(taken).toEqual([1, 2, 3, 4])
    expect(await deliverAll(host)).toBe(0)
    await files.appendText(B, lineOf(5))
    expect(await deliverAll(host)).toBe(1)
    expect(taken).toEqual([1, 2, 3, 4, 5])
  })

  test('moves its cursor only after an answer', async () => {
    const { host, taken, away } = deliveryOf({ [A]: lineOf(1) })
    away(true)
    await expect(deliverAll(host)).rejects.toThrow('UNAVAILABLE')
    away(false)
    await deliverAll(host)
    expect(taken).toEqual([1])
  })

  test('sends nothing that it cannot note, as on a full disk', async () => {
    const { host, taken, files } = deliveryOf({ [A]: lineOf(1) })
    files.room = 0
    await expect(deliverAll(host)).rejects.toThrow('ENOSPC')
    expect(taken).toEqual([])
    files.room = 1e6
    await deliverAll(host)
    expect(taken).toEqual([1])
  })

  test('leaves a line alone that has no end yet, and is not led astray by a torn one', async () => {
    const { host, taken, files } = deliveryOf({ [A]: `${lineOf(1)}{"torn ä\n${lineOf(2)}${lineOf(3).slice(0, 30)}` })
    await deliverAll(host)
    expect(taken).toEqual([1, 2])
    await files.appendText(A, lineOf(3).slice(30))
    await deliverAll(host)
    expect(taken).toEqual([1, 2, 3])
  })

  test('goes on with what is left when the oldest was given up', async () => {
    const { host, taken } = deliveryOf({
      [B]: lineOf(3),
      '/t/delivered/controller.json': '{"schema":1,"segment":1,"offset":99,"spans":7,"atUs":1}',
    })
    await deliverAll(host)
    expect(taken).toEqual([3])
    expect(await readSpoolFigures(host.files, '/t')).toMatchObject({ deliveredSpans: 8, lastDeliveryUs: 5 })
  })

  test('sends pieces of a megabyte, and a single line of any size', async () => {
    const large = 'x'.repeat(400_000)
    const { host, requests } = deliveryOf({
      [A]: [1, 2, 3, 4, 5].map((id) => lineOf(id, large)).join('') + lineOf(6, 'y'.repeat(3e6)),
    })
    await deliverAll(host)
    expect(requests).toEqual([2, 2, 1, 1])
  })

  test('leaves out what a collector would refuse, and what is no span', async () => {
    const bad = [{ ...EMPTY, spanId: '1', name: 'x' }, { ...EMPTY, spanId: '0'.repeat(16), name: 'x' }, { name: 'x' }]
    const { host, taken } = deliveryOf({
      [A]: `${bad.map((each) => `${JSON.stringify(each)}\n`).join('')}${lineOf(4)}`,
    })
    expect(await deliverAll(host)).toBe(1)
    expect(taken).toEqual([4])
  })

  test('ends after what is under way when it is told to stop', async () => {
    const { host, taken, stop } = deliveryOf({ [A]: lineOf(1), [B]: lineOf(2) })
    const { send } = host
    const stopping = { ...host, send: async (spans: readonly SpanRecord[]) => send(spans).finally(() => stop.abort()) }
    await deliverAll(stopping)
    expect(taken).toEqual([1])
    await deliverAll({ ...host, signal: new AbortController().signal })
    expect(taken).toEqual([1, 2])
  })
})

test('readSpoolFigures adds up what is kept, waits and was lost', async () => {
  const { host, files } = deliveryOf({ [A]: lineOf(1), [B]: lineOf(2), '/t/controller/lost': '3' })
  await deliverAll(host)
  await files.appendText(B, lineOf(3))
  expect(await readSpoolFigures(files, '/t')).toEqual({
    spoolBytes: 3 * Buffer.byteLength(lineOf(1)),
    undeliveredBytes: Buffer.byteLength(lineOf(3)),
    deliveredSpans: 2,
    lostSpans: 3,
    lastDeliveryUs: 5,
  })
})

describe('a cursor', () => {
  const failing = (code?: string) => {
    const error = Object.assign(new Error('it cannot be read'), code === undefined ? {} : { code })
    return { ...memoryFiles(), readForeign: () => Promise.reject(error) }
  }

  test('that is a link or no file counts as none', async () => {
    expect(await readCursor(failing(), '/t/controller')).toEqual(NO_CURSOR)
    expect(await readCursor(failing('ELOOP'), '/t/controller')).toEqual(NO_CURSOR)
  })

  test('that the disk does not give now is not taken for none: everything would be sent again', async () => {
    await expect(readCursor(failing('EIO'), '/t/controller')).rejects.toThrow('it cannot be read')
  })
})
