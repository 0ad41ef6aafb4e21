import { describe, expect, it } from 'vitest'
import { networkFailureType } from '../../../src/install/network-failure.ts'
import { DEFAULT_RETRY, delayAfter, parseRetryAfter } from '../../../src/install/retry.ts'

describe('delayAfter', () => {
  it('doubles, is jittered by a quarter and has a ceiling', () => {
    const policy = { tries: 9, baseMs: 1000, maxMs: 5000 }
    expect([1, 2, 3, 4].map((attempt) => delayAfter(attempt, policy, 0.5))).toEqual([1000, 2000, 4000, 5000])
    expect(delayAfter(1, policy, 0)).toBe(750)
    expect(delayAfter(1, policy, 1)).toBe(1250)
  })
  it('waits at least as long as the server asks', () => {
    expect(delayAfter(1, DEFAULT_RETRY, 0, 30_000)).toBe(30_000)
  })
  it('gives up a peer that refuses at once within 15 s', () => {
    const waits = [1, 2, 3, 4].map((attempt) => delayAfter(attempt, DEFAULT_RETRY, 1))
    expect(waits.reduce((a, b) => a + b)).toBeLessThan(15_000)
  })
})

describe('parseRetryAfter', () => {
  it('reads seconds and dates', () => {
    expect(parseRetryAfter('7', 0)).toBe(7000)
    expect(parseRetryAfter('Thu, 01 Jan 1970 00:00:09 GMT', 4000)).toBe(5000)
    expect(parseRetryAfter('soon', 0)).toBe(0)
    expect(parseRetryAfter(undefined, 0)).toBe(0)
  })
})

describe('networkFailureType', () => {
  it.each([
    ['ENOTFOUND', 'dns_failure'],
    ['ETIMEDOUT', 'network_timeout'],
    ['ECONNREFUSED', 'network_unreachable'],
    ['CERT_HAS_EXPIRED', 'tls_failure'],
  ])('%s is %s', (code, type) => {
    expect(networkFailureType(code)).toBe(type)
  })
})
