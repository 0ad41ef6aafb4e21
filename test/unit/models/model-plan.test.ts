import { describe, expect, it } from 'vitest'
import { missingBytes, planModel, renderProgress } from '../../../src/models/model-plan.ts'

const file = { bytes: 10, mtimeMs: 5 }
const known = { ...file, sha256: 'aa' }
const wanted = { bytes: null, sha256: 'aa' }

describe('planModel', () => {
  it('keeps a file that was verified and has not changed since', () => {
    expect(planModel(wanted, file, known)).toBe('keep')
    expect(planModel({ bytes: 10, sha256: null }, file, { ...known, sha256: null })).toBe('keep')
  })
  it('reads a file that is not known, has changed, or was never hashed', () => {
    expect(planModel(wanted, file, undefined)).toBe('verify')
    expect(planModel(wanted, { ...file, mtimeMs: 6 }, known)).toBe('verify')
    expect(planModel(wanted, file, { ...known, sha256: null })).toBe('verify')
  })
  it('downloads what is not there or is certainly another file', () => {
    expect(planModel(wanted, undefined, known)).toBe('download')
    expect(planModel({ ...wanted, bytes: 11 }, file, known)).toBe('download')
    expect(planModel({ ...wanted, sha256: 'bb' }, file, known)).toBe('download')
  })
})

describe('missingBytes', () => {
  it('counts what is to come, without parts that are there', () => {
    const models = [
      { estimatedBytes: 100, partBytes: 30 },
      { estimatedBytes: 0, partBytes: 50 },
      { estimatedBytes: 10, partBytes: 0 },
    ]
    expect(missingBytes(models)).toBe(80)
  })
})

describe('renderProgress', () => {
  const state = { done: 3, total: 32, current: [], bytes: 41.2e9, totalBytes: 181e9, bytesPerSecond: 212e6 }

  it('says models, bytes, rate and what is left', () => {
    expect(renderProgress({ ...state, remainingMs: 659_400 })).toBe('3/32 models, 41.2/181 GB, 212 MB/s, 11 min left')
    expect(renderProgress(state)).toBe('3/32 models, 41.2/181 GB, 212 MB/s')
  })

  it('leaves out what nobody knows', () => {
    expect(renderProgress({ done: 0, total: 2, current: [], bytes: 5e6 })).toBe('0/2 models, 5.0 MB')
  })

  it.each([
    [350, '1 s'],
    [59_600, '1 min'],
    [200_000, '3 min 20 s'],
    [3_600_000, '1 h'],
    [3_900_000, '1 h 5 min'],
  ])('says %i ms as %s', (remainingMs, text) => {
    expect(renderProgress({ ...state, remainingMs })).toContain(`MB/s, ${text} left`)
  })

  it.each([
    [0, '0 kB/s'],
    [64_000, '64 kB/s'],
    [640_000, '0.6 MB/s'],
    [9_960_000, '10 MB/s'],
  ])('says %i bytes per second as %s', (bytesPerSecond, text) => {
    expect(renderProgress({ ...state, bytesPerSecond })).toContain(`GB, ${text}`)
  })
})
