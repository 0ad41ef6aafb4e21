import { describe, expect, it } from 'vitest'
import { createMeter } from '../../../src/models/model-meter.ts'
import { type MemoryContext, memoryContext } from '../install/context.ts'

const MB = 1_000_000

/** What was told last: progress, then the text of it. */
function last({ told }: MemoryContext) {
  return { progress: told.at(-2), text: told.at(-1) }
}

describe('createMeter', () => {
  it('writes the progress before the text, at most once a second', async () => {
    const context = memoryContext()
    const meter = createMeter(context, 2, 100 * MB)
    meter.begin('a')
    for (let piece = 0; piece < 40; piece++) {
      await context.pass(100)
      meter.add(MB)
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
      },
      text: '0/2 models, 39.0/100 MB, 9.8 MB/s, 6 s left',
    })
    meter.stop()
  })

  it('smooths the rate over some seconds and forgets what is older', async () => {
    const context = memoryContext()
    const meter = createMeter(context, 1, undefined)
    const rates: unknown[] = []
    for (const bytes of [10, 10, 0, 0, 0, 0, 0, 0]) {
      meter.add(bytes * MB)
      await context.pass(1_000)
      rates.push((context.told.at(-2) as { bytesPerSecond?: number }).bytesPerSecond)
    }
    expect(rates).toEqual([10 * MB, 10 * MB, 6_666_667, 5 * MB, 2 * MB, 2 * MB, 0, 0])
    meter.stop()
  })

  it('counts bytes that were there, without calling them fast', async () => {
    const context = memoryContext()
    const meter = createMeter(context, 1, 1_000 * MB)
    meter.resume(900 * MB)
    await context.pass(1_000)
    meter.add(MB)
    await context.pass(1_000)
    expect(last(context).progress).toMatchObject({ bytes: 901 * MB, bytesPerSecond: MB / 2, remainingMs: 198_000 })
    meter.stop()
  })

  it('takes back what does not count any more, and is never more than all', async () => {
    const context = memoryContext()
    const meter = createMeter(context, 1, 10 * MB)
    meter.add(8 * MB)
    meter.add(-8 * MB)
    meter.add(12 * MB)
    meter.finish('a')
    meter.stop()
    expect(last(context)).toEqual({
      progress: { done: 1, total: 1, bytes: 12 * MB, totalBytes: 12 * MB, current: [] },
      text: '1/1 models, 12.0/12.0 MB',
    })
  })

  it('says nothing of the time left where a size is not known', async () => {
    const context = memoryContext()
    const meter = createMeter(context, 1, undefined)
    meter.add(MB)
    await context.pass(1_000)
    expect(last(context)).toEqual({
      progress: { done: 0, total: 1, bytes: MB, bytesPerSecond: MB, current: [] },
      text: '0/1 models, 1.0 MB, 1.0 MB/s',
    })
    meter.stop()
  })

  it('goes on where the progress cannot be written, and says so once', async () => {
    const context = memoryContext()
    const full = () => {
      throw new Error('no space left')
    }
    const meter = createMeter({ ...context, host: { ...context.host, progress: { write: full } } }, 1, undefined)
    await context.pass(1_000)
    meter.add(MB)
    await context.pass(1_000)
    meter.stop()
    expect(context.told.at(-1)).toBe('0/1 models, 1.0 MB, 0.5 MB/s')
    expect(context.entries.map(({ message }) => message)).toEqual(['the progress cannot be shown: no space left'])
  })
})
