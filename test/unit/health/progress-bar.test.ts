import { expect, test } from 'vitest'
import { barOf, fractionOf } from '../../../src/health/progress-bar.ts'

test('bytes count where they are known, else items', () => {
  expect(fractionOf({ done: 1, total: 4, current: [] })).toBe(0.25)
  expect(fractionOf({ done: 1, total: 4, bytes: 1, totalBytes: 2, current: [] })).toBe(0.5)
  expect(fractionOf({ done: 1, total: 4, bytes: 1, current: [] })).toBe(0.25)
  expect(fractionOf({ done: 0, total: 0, current: [] })).toBe(0)
  expect(fractionOf({ done: 0, total: 1, bytes: 3, totalBytes: 2, current: [] })).toBe(1)
})

test('a bar is full only at the end', () => {
  expect(barOf(0)).toBe(`[${'-'.repeat(20)}]`)
  expect(barOf(0.999)).toBe(`[${'#'.repeat(19)}-]`)
  expect(barOf(1)).toBe(`[${'#'.repeat(20)}]`)
})

test('a bar is as wide as the terminal allows', () => {
  expect([20, 80, 120, 500].map((columns) => barOf(0.5, columns).length)).toEqual([10, 16, 26, 40])
})
