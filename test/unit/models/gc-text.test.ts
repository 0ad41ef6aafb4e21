import { expect, test } from 'vitest'
import { gcLines } from '../../../src/models/gc-text.ts'

test('a collection says what goes, why, and what becomes free', () => {
  const removals = [
    { path: 'vae/a', kind: 'model' as const, bytes: 2e9 },
    { path: '.store/partial/b', kind: 'partial' as const, bytes: 1e6 },
  ]
  const plan = { removals, freedBytes: 2.001e9, forgotten: [] }
  expect(gcLines(plan, false)).toEqual([
    '- vae/a             2.0 GB  model that nothing wants',
    '- .store/partial/b  1.0 MB  unfinished download that nothing wants',
    '2 names to remove, to become free: 2.0 GB',
  ])
  expect(gcLines(plan, true).at(-1)).toBe('2 names removed, free now: 2.0 GB')
  expect(gcLines({ removals: [], freedBytes: 0, forgotten: [] }, true)).toEqual(['nothing to remove'])
})
