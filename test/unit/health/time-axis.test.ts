import fc from 'fast-check'
import { expect, test } from 'vitest'
import { roundTicks } from '../../../src/health/time-axis.ts'

const labels = (totalUs: number) => roundTicks(totalUs, 8).map(({ label }) => label)

test('ticks stand at times that people read easily', () => {
  expect(labels(700)).toEqual(['0', '100 µs', '200 µs', '300 µs', '400 µs', '500 µs', '600 µs', '700 µs'])
  expect(labels(1_500_000)).toEqual(['0', '200 ms', '400 ms', '600 ms', '800 ms', '1 s', '1.2 s', '1.4 s'])
  expect(labels(200_000_000)).toEqual(['0', '30 s', '1 min', '1 min 30 s', '2 min', '2 min 30 s', '3 min'])
  expect(labels(3 * 3_600_000_000)).toEqual(['0', '30 min', '1 h', '1 h 30 min', '2 h', '2 h 30 min', '3 h'])
})

test('ticks are few, in order and within the time, however long it is', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), (totalUs) => {
      const ticks = roundTicks(totalUs, 8)
      expect(ticks.length).toBeLessThanOrEqual(9)
      expect(ticks.at(-1)?.atUs).toBeLessThanOrEqual(totalUs)
      expect(new Set(ticks.map(({ label }) => label)).size).toBe(ticks.length)
    }),
  )
})
