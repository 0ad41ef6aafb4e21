import { describe, expect, it } from 'vitest'
import { type ModelFiles, planModel, readPins, renderProgress } from '../../../src/models/model-plan.ts'

const file = { bytes: 10, mtimeMs: 5 }
const known = { ...file, sha256: 'aa' }
const wanted = { bytes: null, sha256: 'aa' }
const blob = { bytes: 10, mtimeMs: 4 }
const look = (changes: Partial<ModelFiles>): ModelFiles => ({ file, known, blob: undefined, ...changes })

describe('planModel', () => {
  it('keeps a file that was verified and has not changed since', () => {
    expect(planModel(wanted, look({ blob }))).toBe('keep')
    expect(planModel({ bytes: 10, sha256: null }, look({ known: { ...known, sha256: null } }))).toBe('keep')
  })

  it('reads a file that is not known, has changed, or was never hashed', () => {
    expect(planModel(wanted, look({ known: undefined }))).toBe('verify')
    expect(planModel(wanted, look({ file: { ...file, mtimeMs: 6 } }))).toBe('verify')
    expect(planModel(wanted, look({ known: { ...known, sha256: null } }))).toBe('verify')
    expect(planModel({ ...wanted, sha256: null }, look({ known: undefined }))).toBe('verify')
  })

  it('downloads what is not there or is certainly another file', () => {
    expect(planModel(wanted, look({ file: undefined }))).toBe('download')
    expect(planModel({ ...wanted, bytes: 11 }, look({}))).toBe('download')
    expect(planModel({ ...wanted, sha256: 'bb' }, look({}))).toBe('download')
  })

  it('reads and downloads nothing that the store has', () => {
    expect(planModel(wanted, look({ file: undefined, known: undefined, blob }))).toBe('place')
    expect(planModel(wanted, look({ known: undefined, blob }))).toBe('place')
    expect(planModel({ ...wanted, sha256: 'bb' }, look({ blob }))).toBe('place')
    expect(planModel(wanted, look({ file: { ...file, mtimeMs: 6 }, blob }))).toBe('place')
  })

  it('does not trust content of another size', () => {
    expect(planModel({ ...wanted, bytes: 11 }, look({ file: undefined, blob }))).toBe('download')
  })

  it('reads a file that was changed in place, since the store has the same one', () => {
    const changed = { ...file, mtimeMs: 6 }
    expect(planModel(wanted, look({ file: changed, blob: changed }))).toBe('verify')
  })
})

describe('readPins', () => {
  const digest = (text: string): string => `of ${text}`
  const url = 'https://a.example/m'
  const entry = (sha256: string | null, source?: string) => ({ ...file, sha256, ...(source ? { source } : {}) })

  it('finds what the URL served first, the entry of the same path before others', () => {
    const files = new Map([
      ['x', entry('11', digest(url))],
      ['y', entry('22', digest(url))],
    ])
    expect(readPins(files, digest)({ url, path: 'y' })?.sha256).toBe('22')
    expect(readPins(files, digest)({ url, path: 'z' })?.sha256).toBe('11')
  })

  it('knows nothing of another URL, of a file without a hash or without a source', () => {
    const files = new Map([
      ['x', entry('11', digest('https://b.example/m'))],
      ['y', entry(null, digest(url))],
      ['z', entry('33')],
    ])
    for (const path of ['x', 'y', 'z']) expect(readPins(files, digest)({ url, path })).toBeUndefined()
    expect(readPins(files, digest)({ url: null, path: 'x' })).toBeUndefined()
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
