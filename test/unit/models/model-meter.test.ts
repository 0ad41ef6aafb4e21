import { describe, expect, it } from 'vitest'
import { createMeter } from '../../../src/models/model-meter.ts'
import type { Progress } from '../../../src/report.ts'
import { type MemoryContext, memoryContext } from '../install/context.ts'

const MB = 1_000_000

/** A meter that one file is counted with. */
function meterOf(context: MemoryContext, total: number, totalBytes: number | undefined, onBytes?: () => void) {
  const meter = createMeter(context, total, onBytes)
  meter.expect(totalBytes)
  return { ...meter, file: meter.begin('a', totalBytes) }
}

/** What was told last: progress, then the text of it. */
function last({ told }: MemoryContext) {
  return { progress: told.at(-2), text: told.at(-1) }
}

describe('createMeter', () => {
  it('writes the progress before the text, at most once a second', async () => {
    const context = memoryContext()
    const meter = meterOf(context, 2, 100 * MB)
    for (let piece = 0; piece < 40; piece++) {
      await context.pass(100)
      meter.file.add(MB)
    }
    expect(context.told.map((each) => typeof each)).toEqual(
      Array.from({ length: 10 }, (_, index) => (index % 2 === 0 ? 'object' : 'string')),
    )
    expect(last(context)).toEqual({
      progress: {
        done: 0,
        total: 2,
        bytes: 39 * MB,
        totalBytes: 100 * MB,
        bytesPerSecond: 9_750_000,
        remainingMs: 6_256,
        current: ['a'],
        files: [{ name: 'a', bytes: 39 * MB, totalBytes: 100 * MB, bytesPerSecond: 9_750_000, remainingMs: 6_256 }],
      },
      text: '0/2 models, 39.0/100 MB, 9.8 MB/s, 6 s left',
    })
    meter.stop()
  })

  it('smooths the rate over some seconds and forgets what is older', async () => {
    const context = memoryContext()
    const meter = meterOf(context, 1, undefined)
    const rates: unknown[] = []
    for (const bytes of [10, 10, 0, 0, 0, 0, 0, 0]) {
      meter.file.add(bytes * MB)
      await context.pass(1_000)
      rates.push((context.told.at(-2) as { bytesPerSecond?: number }).bytesPerSecond)
    }
    expect(rates).toEqual([10 * MB, 10 * MB, 6_666_667, 5 * MB, 4 * MB, 2 * MB, 0, 0])
    meter.stop()
  })

  it('counts bytes that were there, without calling them fast', async () => {
    const context = memoryContext()
    const meter = meterOf(context, 1, 1_000 * MB)
    meter.file.resume(900 * MB)
    await context.pass(1_000)
    meter.file.add(MB)
    await context.pass(1_000)
    expect(last(context).progress).toMatchObject({ bytes: 901 * MB, bytesPerSecond: MB / 2, remainingMs: 198_000 })
    meter.stop()
  })

  it('takes back what does not count any more, and is never more than all', async () => {
    const context = memoryContext()
    const meter = meterOf(context, 1, 10 * MB)
    meter.file.add(8 * MB)
    meter.file.add(-8 * MB)
    meter.file.add(12 * MB)
    meter.file.finish()
    meter.count(1)
    meter.stop()
    expect(last(context)).toEqual({
      progress: { done: 1, total: 1, bytes: 12 * MB, totalBytes: 12 * MB, current: [] },
      text: '1/1 models, 12.0/12.0 MB',
    })
  })

  it('says nothing of the time left where a size is not known', async () => {
    const context = memoryContext()
    const meter = meterOf(context, 1, undefined)
    meter.file.add(MB)
    await context.pass(1_000)
    expect(last(context)).toEqual({
      progress: {
        done: 0,
        total: 1,
        bytes: MB,
        bytesPerSecond: MB,
        current: ['a'],
        files: [{ name: 'a', bytes: MB, bytesPerSecond: MB }],
      },
      text: '0/1 models, 1.0 MB, 1.0 MB/s',
    })
    meter.stop()
  })

  it('tells of eight files at most, and of none that has ended', async () => {
    const context = memoryContext()
    const meter = createMeter(context, 9)
    const files = Array.from({ length: 9 }, (_, index) => meter.begin(`m${index}`, 10))
    files[0]?.finish()
    files[1]?.add(20)
    await context.pass(1_000)
    const { current, files: shown } = last(context).progress as Progress
    expect(current).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6', 'm7', 'm8'])
    expect(shown?.[0]).toEqual({ name: 'm1', bytes: 20, totalBytes: 20, bytesPerSecond: 20 })
    expect(shown?.length).toBe(8)
    meter.stop()
  })

  it('knows the pace of each file beside that of all', async () => {
    const context = memoryContext()
    const meter = createMeter(context, 2)
    meter.expect(110 * MB)
    const [fast, slow] = [meter.begin('fast', 100 * MB), meter.begin('slow', 10 * MB)]
    for (let second = 0; second < 3; second++) {
      fast.add(9 * MB)
      slow.add(MB)
      await context.pass(1_000)
    }
    expect(last(context).progress).toMatchObject({
      ...{ bytes: 30 * MB, bytesPerSecond: 10 * MB, remainingMs: 8_000 },
      files: [
        { name: 'fast', bytesPerSecond: 9 * MB, remainingMs: 8_111 },
        { name: 'slow', bytesPerSecond: MB, remainingMs: 7_000 },
      ],
    })
    meter.stop()
  })

  it('says that bytes arrive, and moves the deadline of the start with them only', async () => {
    const context = memoryContext()
    const extended: number[] = []
    const notify = { ...context.host.notify, extend: (ms: number) => void extended.push(ms) }
    let arrivals = 0
    const meter = meterOf({ ...context, host: { ...context.host, notify } }, 1, 10, () => {
      arrivals += 1
    })
    await context.pass(60_000)
    meter.file.resume(5)
    meter.file.add(-5)
    expect([arrivals, extended]).toEqual([0, []])
    meter.file.add(1)
    expect([arrivals, extended]).toEqual([1, [600_000]])
    meter.stop()
  })

  it('goes on where the progress cannot be written, and says so once', async () => {
    const context = memoryContext()
    const full = () => {
      throw new Error('no space left')
    }
    const meter = meterOf({ ...context, host: { ...context.host, progress: { write: full } } }, 1, undefined)
    await context.pass(1_000)
    meter.file.add(MB)
    await context.pass(1_000)
    meter.stop()
    expect(context.told.at(-1)).toBe('0/1 models, 1.0 MB, 0.5 MB/s')
    expect(context.entries.map(({ message }) => message)).toEqual(['the progress cannot be shown: no space left'])
  })
})
