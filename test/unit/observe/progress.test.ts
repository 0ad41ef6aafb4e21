import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseProgress } from '../../../src/observe/progress.ts'

const WHOLE = {
  done: 3,
  total: 32,
  bytes: 5,
  totalBytes: 9,
  bytesPerSecond: 1.5,
  remainingMs: 20,
  current: ['a', 'b'],
}
const textOf = (changes: object = {}): string => JSON.stringify({ invocationId: 'i', ...WHOLE, ...changes })

test('the progress of a run is read', () => {
  expect(parseProgress(textOf(), 'i')).toEqual(WHOLE)
})

test('that of another run is not, and what is no progress neither', () => {
  expect(parseProgress(textOf(), 'j')).toBeUndefined()
  expect(parseProgress(undefined, 'i')).toBeUndefined()
  for (const text of ['', '{', 'null', '[]', '7', '{"invocationId":"i"}', textOf({ total: -1 }), textOf({ done: '3' })])
    expect(parseProgress(text, 'i'), text).toBeUndefined()
})

test('what is not a number or not a name is left out', () => {
  const odd = { bytes: '5', totalBytes: -9, bytesPerSecond: null, remainingMs: true, extra: 1, current: ['a', 7, {}] }
  expect(parseProgress(textOf(odd), 'i')).toEqual({ done: 3, total: 32, current: ['a'] })
  expect(parseProgress(textOf({ current: 'a' }), 'i')?.current).toEqual([])
  expect(parseProgress(textOf().replace('20', '1e999'), 'i')).not.toHaveProperty('remainingMs')
})

test('of each file that is worked on its name and bytes are read, and no more', () => {
  const files = [
    { name: 'a', bytes: 5, totalBytes: 9, url: 'https://a.example/?token=x' },
    { name: 'b', bytes: 1 },
  ]
  const odd = [null, 'a', { bytes: 1 }, { name: 'c' }, { name: 'd', bytes: -1 }]
  expect(parseProgress(textOf({ files: [...files, ...odd] }), 'i')?.files).toEqual([
    { name: 'a', bytes: 5, totalBytes: 9 },
    { name: 'b', bytes: 1 },
  ])
  const many = Array.from({ length: 50 }, () => ({ name: 'x'.repeat(5_000), bytes: 1 }))
  expect(parseProgress(textOf({ files: many }), 'i')?.files?.map(({ name }) => name.length)).toEqual(Array(8).fill(200))
})

test('names are few and short, and no more is done than there is', () => {
  const progress = parseProgress(
    textOf({ done: 99, current: Array.from({ length: 50 }, () => 'x'.repeat(5_000)) }),
    'i',
  )
  expect(progress?.done).toBe(32)
  expect(progress?.current.length).toBe(8)
  expect(progress?.current[0]?.length).toBe(200)
})

test('any text is read without an exception', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => void parseProgress(text, 'i')))
  const numbers = fc.record({ invocationId: fc.constant('i'), done: fc.anything(), total: fc.anything() })
  fc.assert(fc.property(numbers, (value) => void parseProgress(JSON.stringify(value), 'i')))
})
