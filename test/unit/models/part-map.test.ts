import { describe, expect, it } from 'vitest'
import {
  isSameFile,
  isSameVersion,
  type PartIdentity,
  parsePartMap,
  renderPartMap,
  renderRange,
} from '../../../src/models/part-map.ts'

const identity: PartIdentity = { source: 's', sha256: null, etag: '"e"', lastModified: null, total: 100 }
const wanted = { source: 's', sha256: null, bytes: null }

describe('parsePartMap', () => {
  const text = `${renderPartMap(identity, 'boot-1', [{ from: 0, to: 10 }])}${renderRange({ from: 10, to: 20 })}${renderRange({ from: 50, to: 60 })}`

  it('counts every line in the boot that wrote it', () => {
    const map = parsePartMap(text, 'boot-1')
    expect(map?.identity).toEqual(identity)
    expect(map?.isSameBoot).toBe(true)
    expect(map?.arrived.ranges).toEqual([
      { from: 0, to: 20 },
      { from: 50, to: 60 },
    ])
  })

  it('counts after another boot what was synced', () => {
    const map = parsePartMap(text, 'boot-2')
    expect(map?.isSameBoot).toBe(false)
    expect(map?.arrived.ranges).toEqual([{ from: 0, to: 10 }])
  })

  it('leaves out a last line that a kill cut, and bytes beyond the end', () => {
    const cut = parsePartMap(`${text}60 7`, 'boot-1')
    expect(cut?.arrived.bytes).toBe(30)
    expect(parsePartMap(`${text}90 400\n`, 'boot-1')?.arrived.bytes).toBe(40)
  })

  it.each([
    '',
    '{}\n',
    'null\n',
    '{"schema":1,"source":"s","total":-1}\n',
    '{"schema":2,"source":"s","total":1}\n',
    'x',
  ])('is undefined for what is no map: %j', (other) => {
    expect(parsePartMap(other, 'boot-1')).toBeUndefined()
  })
})

describe('isSameFile', () => {
  it('goes on from any source where the hash is known', () => {
    const part = { ...identity, sha256: 'a', etag: null }
    expect(isSameFile(part, { source: 'mirror', sha256: 'a', bytes: null })).toBe(true)
    expect(isSameFile(part, { source: 's', sha256: 'b', bytes: null })).toBe(false)
  })

  it('asks for the same source and a validator where it is not', () => {
    expect(isSameFile(identity, wanted)).toBe(true)
    expect(isSameFile(identity, { ...wanted, source: 'other' })).toBe(false)
    expect(isSameFile({ ...identity, etag: null }, wanted)).toBe(false)
    expect(isSameFile({ ...identity, etag: null, lastModified: 'Tue' }, wanted)).toBe(true)
  })

  it('does not go on with a file of another size', () => {
    expect(isSameFile(identity, { ...wanted, bytes: 99 })).toBe(false)
    expect(isSameFile(identity, { ...wanted, bytes: 100 })).toBe(true)
  })
})

describe('isSameVersion', () => {
  it('looks at the validator unless the hash decides', () => {
    const other = { ...identity, etag: '"f"' }
    expect(isSameVersion(identity, other, false)).toBe(false)
    expect(isSameVersion(identity, other, true)).toBe(true)
    expect(isSameVersion(identity, { ...identity, total: 1 }, true)).toBe(false)
  })

  it('looks at the date where there is no ETag', () => {
    const dated = { ...identity, etag: null, lastModified: 'Tue' }
    expect(isSameVersion(dated, dated, false)).toBe(true)
    expect(isSameVersion(dated, { ...dated, lastModified: 'Wed' }, false)).toBe(false)
  })
})
