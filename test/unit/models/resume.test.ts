import { describe, expect, it } from 'vitest'
import { judgeStatus, parseContentRange } from '../../../src/models/resume.ts'

describe('parseContentRange', () => {
  it('reads first byte and total', () => {
    expect(parseContentRange('bytes 40-99/100')).toEqual({ from: 40, to: 100, total: 100 })
    expect(parseContentRange('bytes 40-99/*')).toEqual({ from: 40, to: 100, total: null })
    expect(parseContentRange('bytes */100')).toBeUndefined()
    expect(parseContentRange(undefined)).toBeUndefined()
  })
})

describe('judgeStatus', () => {
  it.each([
    [200, 'whole'],
    [206, 'part'],
    [302, 'redirect'],
    [401, 'auth'],
    [403, 'auth'],
    [404, 'refused'],
    [416, 'range'],
    [429, 'retry'],
    [503, 'retry'],
  ])('%i is %s', (status, meaning) => {
    expect(judgeStatus(status)).toBe(meaning)
  })
})
