import { describe, expect, it } from 'vitest'
import { judgeStatus, parseContentRange, parsePartRecord, planResume } from '../../../src/models/resume.ts'

const record = { url: 'https://m.example/a', etag: '"v1"', lastModified: null, total: 100 }
const wanted = { url: 'https://m.example/a', bytes: null, sha256: null }

describe('planResume', () => {
  it('goes on after the part of the same source with its validator', () => {
    expect(planResume(40, record, wanted)).toEqual({ from: 40, validator: '"v1"' })
  })
  it('begins anew without a part, without a record, or with one of another source', () => {
    expect(planResume(0, record, wanted)).toEqual({ from: 0 })
    expect(planResume(40, undefined, wanted)).toEqual({ from: 0 })
    expect(planResume(40, { ...record, url: 'https://m.example/b' }, wanted)).toEqual({ from: 0 })
  })
  it('begins anew when the part is longer than the file', () => {
    expect(planResume(101, record, wanted)).toEqual({ from: 0 })
    expect(planResume(51, record, { ...wanted, bytes: 50 })).toEqual({ from: 0 })
  })
  it('does not take a weak etag for a validator', () => {
    const weak = { ...record, etag: 'W/"v1"' }
    expect(planResume(40, weak, wanted)).toEqual({ from: 0 })
    expect(planResume(40, { ...weak, lastModified: 'Thu, 01 Jan 1970 00:00:00 GMT' }, wanted)).toEqual({
      from: 40,
      validator: 'Thu, 01 Jan 1970 00:00:00 GMT',
    })
  })
  it('needs no validator where a hash decides at the end', () => {
    expect(planResume(40, { ...record, etag: null }, { ...wanted, sha256: 'aa' })).toEqual({
      from: 40,
      validator: null,
    })
  })
})

describe('parsePartRecord', () => {
  it('reads what was written and refuses anything else', () => {
    expect(parsePartRecord(JSON.stringify(record))).toEqual(record)
    expect(parsePartRecord('{"etag":"x"}')).toBeUndefined()
    expect(parsePartRecord('{"url":"x"')).toBeUndefined()
    expect(parsePartRecord(undefined)).toBeUndefined()
  })
})

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
