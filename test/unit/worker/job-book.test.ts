import { describe, expect, it } from 'vitest'
import type { SpanRecord } from '../../../src/host/ports.ts'
import { NOT_EXECUTED } from '../../../src/worker/execution-times.ts'
import type { JobAccount } from '../../../src/worker/job-account.ts'
import { openJobBook } from '../../../src/worker/job-book.ts'
import type { JobCounters } from '../../../src/worker/job-counters.ts'
import { fakeClock, fakeTrace } from './fakes.ts'

const ORIGIN = { attributes: {}, resource: {}, startup: { traceId: 'c'.repeat(32), spanId: 'd'.repeat(16) } }

function accountOf(seconds: number, changes: Partial<JobAccount> = {}): JobAccount {
  return {
    ...{ jobId: '7', queue: 'comfyui', attempt: 1, trace: fakeTrace(), startUs: 1e15, endUs: 1e15 + seconds * 1e6 },
    ...{
      outcome: { kind: 'completed', value: {} },
      execution: NOT_EXECUTED,
      nodeTypes: {},
      outputs: 1,
      outputBytes: 5,
    },
    ...changes,
  }
}

function setUp(append: (spans: readonly SpanRecord[]) => Promise<void> = async () => undefined) {
  const kept: JobCounters[] = []
  const warnings: string[] = []
  const spans: SpanRecord[][] = []
  const clock = fakeClock()
  const book = openJobBook(
    {
      clock,
      async append(batch) {
        spans.push([...batch])
        await append(batch)
      },
      keepCounters: async (counters) => void kept.push(counters),
      warn: (warning) => void warnings.push(warning),
    },
    ORIGIN,
  )
  return { book, kept, warnings, spans, clock }
}

describe('the counters of a worker', () => {
  it('are 0 on disk before the first job, and count by outcome, duration and bytes', async () => {
    const { book, kept } = setUp()
    await book.flush()
    expect(kept[0]).toMatchObject({ jobs: { completed: 0, failed: 0, returned: 0 }, duration: { count: 0 } })
    book.account(accountOf(0.05))
    book.account(accountOf(0.3, { outcome: { kind: 'failed', message: 'no', isRetriable: false }, outputBytes: 0 }))
    book.account(accountOf(5000))
    book.account(accountOf(7, { outcome: { kind: 'returned' }, outputBytes: 0 }))
    await book.flush()
    const last = kept.at(-1)
    expect(last).toMatchObject({ jobs: { completed: 2, failed: 1, returned: 1 }, outputBytes: 10, lostSpans: 0 })
    expect(last?.duration.count).toBe(3)
    expect(last?.duration.sum).toBeCloseTo(5000.35)
    const counts = Object.fromEntries((last?.duration.buckets ?? []).map(({ le, count }) => [le, count]))
    expect(counts).toMatchObject({ 0.05: 1, 0.25: 1, 0.5: 2, 1800: 2 })
  })

  it('are written at once when the worker was idle, and else once a second', async () => {
    const { book, kept, clock } = setUp()
    clock.advanceTo(clock.nowUs() + 2e6)
    for (let i = 0; i < 50; i++) book.account(accountOf(1))
    for (let i = 0; i < 5; i++) await Promise.resolve()
    expect(kept.map(({ jobs }) => jobs.completed)).toEqual([0, 1])
    await book.flush()
    expect(kept.map(({ jobs }) => jobs.completed)).toEqual([0, 1, 50])
  })
})

describe('the spans of a worker', () => {
  it('are kept after the job has gone out, and nothing waits for the disk', async () => {
    let release = (): void => undefined
    const disk = new Promise<void>((resolve) => {
      release = resolve
    })
    const { book, spans } = setUp(() => disk)
    book.account(accountOf(1))
    expect(spans).toEqual([])
    await new Promise((resolve) => setImmediate(resolve))
    expect(spans.length).toBe(1)
    book.account(accountOf(1))
    const flushed = book.flush().then(() => 'flushed')
    const waited = new Promise((resolve) => setTimeout(() => resolve('waits'), 20))
    expect(await Promise.race([flushed, waited])).toBe('waits')
    release()
    expect(await flushed).toBe('flushed')
    expect(spans.flat().length).toBe(2)
  })

  it('that a full disk refuses reach no job and are warned about once; those given up are counted', async () => {
    const { book, kept, warnings } = setUp(() => Promise.reject(new Error('ENOSPC: no space left on device')))
    for (let i = 0; i < 3; i++) book.account(accountOf(1))
    await book.flush()
    book.lose(2)
    await book.flush()
    expect(kept.at(-1)).toMatchObject({ jobs: { completed: 3 }, lostSpans: 2 })
    expect(warnings).toEqual([expect.stringContaining('ENOSPC')])
  })

  it('are none of a trace that its producer did not sample', async () => {
    const { book, kept, spans } = setUp()
    const trace = fakeTrace({ traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00` })
    book.account(accountOf(1, { trace }))
    await book.flush()
    expect(spans).toEqual([])
    expect(kept.at(-1)).toMatchObject({ jobs: { completed: 1 }, lostSpans: 0 })
  })
})
