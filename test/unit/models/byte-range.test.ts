import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseRange } from '../../../src/models/byte-range.ts'

describe('parseRange', () => {
  test.each([
    ['bytes=0-0', 0, 1],
    ['bytes=0-99', 0, 100],
    ['bytes=10-19', 10, 20],
    ['bytes=10-', 10, 100],
    ['bytes=99-', 99, 100],
    ['bytes=90-1000', 90, 100],
    ['bytes=-1', 99, 100],
    ['bytes=-100', 0, 100],
    ['bytes=-1000', 0, 100],
    ['BYTES= 10-19 ', 10, 20],
    [`bytes=5-${'9'.repeat(40)}`, 5, 100],
  ])('%s of 100 bytes is one range', (header, from, to) => {
    expect(parseRange(header, 100)).toEqual({ from, to })
  })

  test.each(['bytes=100-', 'bytes=100-200', 'bytes=-0', `bytes=${'9'.repeat(400)}-`])(
    '%s of 100 bytes is none that is there',
    (header) => {
      expect(parseRange(header, 100)).toBe('none')
    },
  )

  test.each([
    ...[
      undefined,
      '',
      'bytes',
      'bytes=',
      'bytes=-',
      'bytes=a-b',
      'bytes=5-4',
      'bytes=+5-6',
      'bytes=5 - 6',
      'bytes=1.5-2',
    ],
    ...['items=0-5', 'bytes=0-1,5-6', 'bytes=0-1,', 'bytes 0-1', 'bytes=0--1', 'xbytes=0-1'],
  ])('%s asks for the whole', (header) => {
    expect(parseRange(header, 100)).toBe('whole')
  })

  test('of an empty file there is no first byte', () => {
    expect(parseRange('bytes=0-', 0)).toBe('none')
    expect(parseRange('bytes=0-0', 0)).toBe('none')
    expect(parseRange('bytes=-5', 0)).toBe('whole')
  })

  test('a range lies within the file whatever is asked', () => {
    const number = fc.oneof(fc.nat(), fc.maxSafeNat())
    const header = fc.oneof(
      fc.tuple(number, number).map(([a, b]) => `bytes=${a}-${b}`),
      number.map((a) => `bytes=${a}-`),
      number.map((a) => `bytes=-${a}`),
      fc.string(),
    )
    fc.assert(
      fc.property(header, fc.nat(), (text, size) => {
        const range = parseRange(text, size)
        if (typeof range === 'string') return
        expect(range.from).toBeGreaterThanOrEqual(0)
        expect(range.from).toBeLessThan(range.to)
        expect(range.to).toBeLessThanOrEqual(size)
      }),
    )
  })
})
