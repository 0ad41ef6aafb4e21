import { describe, expect, it } from 'vitest'
import type { Clock } from '../../../src/host/ports.ts'
import { createThrottle } from '../../../src/worker/throttle.ts'

/** A clock moved by hand; a sleep ends when `pass` reaches its time. */
function handClock(): Clock & { pass(ms: number): Promise<void> } {
  let us = 0
  let sleepers: { readonly dueUs: number; readonly wake: () => void }[] = []
  return {
    nowUs: () => us,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        sleepers.push({ dueUs: us + ms * 1000, wake: resolve })
        signal?.addEventListener('abort', () => resolve())
      }),
    async pass(ms) {
      us += ms * 1000
      const due = sleepers.filter(({ dueUs }) => dueUs <= us)
      sleepers = sleepers.filter(({ dueUs }) => dueUs > us)
      for (const { wake } of due) wake()
      await new Promise((resolve) => setImmediate(resolve))
    },
  }
}

describe('a throttle', () => {
  it('sends the first at once, then one per interval, always the newest', async () => {
    const clock = handClock()
    const sent: number[] = []
    const throttle = createThrottle<number>(clock, 100, (value) => sent.push(value))
    for (let value = 0; value < 100; value++) {
      throttle.offer(value)
      await clock.pass(10)
    }
    throttle.flush()
    expect(sent[0]).toBe(0)
    expect(sent.at(-1)).toBe(99)
    expect(sent.length).toBeGreaterThanOrEqual(10)
    expect(sent.length).toBeLessThanOrEqual(12)
  })

  it('sends a held value when the interval is over, though nothing follows', async () => {
    const clock = handClock()
    const sent: string[] = []
    const throttle = createThrottle<string>(clock, 100, (value) => sent.push(value))
    throttle.offer('a')
    throttle.offer('b')
    expect(sent).toEqual(['a'])
    await clock.pass(100)
    expect(sent).toEqual(['a', 'b'])
    await clock.pass(500)
    throttle.flush()
    expect(sent).toEqual(['a', 'b'])
  })

  it('holds the first one too where that is asked for', async () => {
    const clock = handClock()
    const sent: string[] = []
    const throttle = createThrottle<string>(clock, 100, (value) => sent.push(value), 'held')
    throttle.offer('a')
    throttle.offer('b')
    expect(sent).toEqual([])
    await clock.pass(100)
    expect(sent).toEqual(['b'])
    throttle.offer('c')
    throttle.flush()
    expect(sent).toEqual(['b', 'c'])
  })

  it('drops a held first one that was over before its time', async () => {
    const clock = handClock()
    const sent: string[] = []
    const throttle = createThrottle<string>(clock, 100, (value) => sent.push(value), 'held')
    throttle.offer('a')
    throttle.flush()
    await clock.pass(200)
    expect(sent).toEqual([])
  })

  it('flushes at once and only once', async () => {
    const clock = handClock()
    const sent: string[] = []
    const throttle = createThrottle<string>(clock, 100, (value) => sent.push(value))
    throttle.offer('a')
    throttle.offer('b')
    throttle.flush()
    await clock.pass(200)
    expect(sent).toEqual(['a', 'b'])
  })
})
