import { expect, test } from 'vitest'
import { progressText } from '../../../src/models/progress-text.ts'

test('the line has the whole first and then some files', () => {
  const files = ['a', 'b', 'c', 'd', 'e'].map((name, index) => ({ name, bytes: index * 25, totalBytes: 100 }))
  const progress = { done: 1, total: 6, bytes: 5e6, totalBytes: 10e6, current: [], files }
  expect(progressText(progress)).toBe('1/6 models, 5.0/10.0 MB, a 0 %, b 25 %, c 50 %, 2 more')
  expect(progressText({ done: 0, total: 1, current: [], files: [{ name: 'a', bytes: 3 }] })).toBe(
    '0/1 models, 0.0 MB, a',
  )
})
