import { expect, test } from 'vitest'
import { applicationId } from '../../../src/host/identity.ts'

test('computes what systemd-id128 --app-specific= computes', () => {
  expect(applicationId('0123456789abcdef0123456789abcdef', '831bfddb5a0e4a6a807fc5be5dfc32b6')).toBe(
    '5079f0fdedb34259ac9ebad81058cfab',
  )
})
