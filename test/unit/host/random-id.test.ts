import { expect, it } from 'vitest'
import { randomId } from '../../../src/host/random-id.ts'

it('is as many bytes of lowercase hex, each time others', () => {
  expect(randomId(8)).toMatch(/^[0-9a-f]{16}$/)
  expect(randomId(16)).toMatch(/^[0-9a-f]{32}$/)
  expect(new Set(Array.from({ length: 100 }, () => randomId(8))).size).toBe(100)
})
