import { describe, expect, test } from 'vitest'
import { openOutbox } from '../../../src/emit/outbox.ts'
import { takePending } from '../../../src/emit/pending.ts'
import { parseSpans, readLost, readSpans } from '../../../src/emit/segments.ts'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { memoryFiles } from './memory-files.ts'

const OUTBOX = '/t/controller'
const spanOf = (id: number): SpanRecord => ({
  traceId: 'a'.repeat(32),
  spanId: String(id).padStart(16, '0'),
  name: `span ${id}`,
  startUs: 1,
  endUs: 2,
  attributes: {},
  events: [],
  links: [],
  resource: {},
})
const idsOf = (spans: readonly SpanRecord[]): readonly number[] => spans.map(({ spanId }) => Number(spanId))
const LINE = Buffer.byteLength(`${JSON.stringify(spanOf(1))}\n`)

describe('an outbox', () => {
  test('gives back what was appended, in order', async () => {
    const files = memoryFiles()
    const outbox = openOutbox(files, OUTBOX)
    await Promise.all([outbox.append([spanOf(1)]), outbox.append([]), outbox.append([spanOf(2), spanOf(3)])])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([1, 2, 3])
    expect([...files.texts.keys()]).toEqual(['/t/controller/00000001.ndjson'])
  })

  test('goes on after an earlier process, past a line that it has torn', async () => {
    const files = memoryFiles({ '/t/controller/00000007.ndjson': `${JSON.stringify(spanOf(1))}\n{"torn` })
    await openOutbox(files, OUTBOX).append([spanOf(2)])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([1, 2])
  })

  test('begins a segment when the last one has grown', async () => {
    const files = memoryFiles()
    const outbox = openOutbox(files, OUTBOX, { segmentBytes: 2 * LINE })
    for (const id of [1, 2, 3]) await outbox.append([spanOf(id)])
    expect([...files.texts.keys()]).toEqual(['/t/controller/00000001.ndjson', '/t/controller/00000002.ndjson'])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([1, 2, 3])
  })

  test('gives up the oldest undelivered spans when they are too many, and counts them', async () => {
    const files = memoryFiles()
    const lost: number[] = []
    const limits = { segmentBytes: 2 * LINE, largestBytes: 4 * LINE, onLost: (count: number) => void lost.push(count) }
    const outbox = openOutbox(files, OUTBOX, limits)
    for (let id = 1; id <= 7; id += 1) await outbox.append([spanOf(id)])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([3, 4, 5, 6, 7])
    expect(lost).toEqual([2])
    expect(await readLost(files, OUTBOX)).toBe(2)
  })

  test('keeps less of what is delivered, and counts none of it as lost', async () => {
    const files = memoryFiles({
      '/t/delivered/controller.json': '{"schema":1,"segment":3,"offset":0,"spans":4,"atUs":1}',
    })
    const outbox = openOutbox(files, OUTBOX, { segmentBytes: 2 * LINE, keptBytes: 2 * LINE })
    for (let id = 1; id <= 7; id += 1) await outbox.append([spanOf(id)])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([5, 6, 7])
    expect(await readLost(files, OUTBOX)).toBe(0)
  })

  test('on a full disk gives the oldest up for the newest', async () => {
    const files = memoryFiles()
    files.room = 4 * LINE + 16
    const outbox = openOutbox(files, OUTBOX, { segmentBytes: 2 * LINE })
    for (let id = 1; id <= 5; id += 1) await outbox.append([spanOf(id)])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([3, 4, 5])
    expect(await readLost(files, OUTBOX)).toBe(2)
  })

  test('keeps in memory what finds no room at all, and writes it when there is some', async () => {
    const files = memoryFiles()
    files.room = 0
    const lost: number[] = []
    const outbox = openOutbox(files, OUTBOX, { heldSpans: 2, onLost: (count) => void lost.push(count) })
    for (const id of [1, 2, 3]) await expect(outbox.append([spanOf(id)])).rejects.toThrow('ENOSPC')
    files.room = 1e6
    await outbox.append([])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([2, 3])
    expect([lost, await readLost(files, OUTBOX)]).toEqual([[1], 1])
  })

  test('writes nothing twice when what it lost cannot be counted yet', async () => {
    const files = memoryFiles()
    files.room = 3 * LINE
    const outbox = openOutbox(files, OUTBOX, { segmentBytes: 2 * LINE })
    for (const id of [1, 2, 3]) await outbox.append([spanOf(id)])
    // The first segment makes way; its two spans leave no room for their number.
    await expect(outbox.append([spanOf(4), spanOf(5)])).rejects.toThrow('ENOSPC')
    expect(idsOf(await readSpans(files, '/t'))).toEqual([3, 4, 5])
    files.room = 1e6
    await outbox.append([])
    expect(idsOf(await readSpans(files, '/t'))).toEqual([3, 4, 5])
    expect(await readLost(files, OUTBOX)).toBe(2)
  })

  test('marks what is new where somebody delivers', async () => {
    const files = memoryFiles()
    await openOutbox(files, OUTBOX).append([spanOf(1)])
    expect(await takePending(files, '/t')).toBe(false)
    await files.makeDirectory('/t/pending')
    await openOutbox(files, OUTBOX).append([spanOf(2)])
    expect(await takePending(files, '/t')).toBe(true)
    expect(await takePending(files, '/t')).toBe(false)
    expect(idsOf(await readSpans(files, '/t'))).toEqual([1, 2])
  })
})

describe('parseSpans', () => {
  test('leaves out what is torn, still being written or no span', () => {
    const line = JSON.stringify(spanOf(1))
    expect(parseSpans(`${line.slice(0, 40)}\n${line}\n\n[1]\nnull\n{"a":1}\n${line}`)).toEqual([spanOf(1)])
    expect(parseSpans('')).toEqual([])
  })
})
