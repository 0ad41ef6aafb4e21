import { describe, expect, test } from 'vitest'
import type { StoredFile } from '../../../src/host/inventory-ports.ts'
import { type ListFacts, listModels, selectModels, sumBytes } from '../../../src/models/list-models.ts'
import { listLines } from '../../../src/models/list-text.ts'
import type { Claim } from '../../../src/models/reach.ts'
import { claimOf, fileAt, hashOf, linked } from './stored.ts'

const [A, B, C] = [hashOf('a'), hashOf('b'), hashOf('c')]
const digest = (text: string): string => `d-${text}`

function list(claims: readonly Claim[], files: readonly StoredFile[], changes: Partial<ListFacts> = {}) {
  return listModels({ claims, files, index: {}, partials: new Map(), digest, ...changes })
}
const verified = (sha256: string | null, mtimeMs = 1) => ({ bytes: 10, mtimeMs, sha256 })

describe('the state of a model', () => {
  test('is in place when the file is the one that was verified', () => {
    const index = { 'vae/a': verified(A) }
    expect(list([claimOf('vae/a', { sha256: A })], linked(A, 'vae/a'), { index })).toEqual([
      {
        name: 'a',
        path: 'vae/a',
        bytes: 10,
        sha256: A,
        state: 'in_place',
        arrived_bytes: null,
        pinned: false,
        wanted_by: ['machine'],
        after_start: false,
      },
    ])
  })

  test('is unverified when the file changed, or when nobody read it', () => {
    const index = { a: verified(A, 2), c: verified(null) }
    const files = ['a', 'b', 'c'].map((path) => fileAt(path))
    const rows = list(
      ['a', 'b', 'c'].map((path) => claimOf(path)),
      files,
      { index },
    )
    expect(rows.map(({ state }) => state)).toEqual(['unverified', 'unverified', 'unverified'])
  })

  test('is missing, partial or in the store without a file', () => {
    const partials = new Map([[`url-${digest('https://models.example/b')}`, { arrived: 41, total: 100 }]])
    const rows = list([claimOf('a'), claimOf('b'), claimOf('c', { sha256: C })], linked(C), { partials })
    expect(rows.map(({ state, bytes, arrived_bytes }) => [state, bytes, arrived_bytes])).toEqual([
      ['missing', null, null],
      ['partial', 100, 41],
      ['stored', 10, null],
    ])
  })

  test('is pinned where no hash is declared and the file was verified', () => {
    const index = { a: verified(A), b: { ...verified(B), source: digest('https://models.example/b') } }
    const rows = list([claimOf('a', { sha256: A }), claimOf('b')], [...linked(A, 'a'), ...linked(B, 'b')], { index })
    expect(rows.map(({ pinned }) => pinned)).toEqual([false, true])
  })
})

describe('who wants a model', () => {
  test('is everybody who means the same content', () => {
    const id = '0123456789abcdef'
    const claims = [claimOf('a'), claimOf('a', { sha256: A, by: id }), claimOf('a', { sha256: B, by: 'update' })]
    const rows = list(claims, [...linked(A, 'a'), ...linked(B)], { index: { a: verified(A) } })
    expect(rows.map(({ sha256, state, wanted_by }) => [sha256, state, wanted_by])).toEqual([
      [A, 'in_place', ['machine', id]],
      [B, 'stored', ['update']],
    ])
  })

  test('is nobody for what only lies there', () => {
    const rows = list([], [...linked(A, 'a'), ...linked(B), fileAt('own')], { index: { a: verified(A) } })
    expect(rows.map(({ path, name, state, wanted_by }) => [path ?? name, state, wanted_by])).toEqual([
      ['a', 'in_place', []],
      [B.slice(0, 12), 'stored', []],
    ])
  })

  test('finds a model that is only named by its name', () => {
    const [row] = list([claimOf(null)], [fileAt('loras/named.safetensors')])
    expect(row).toMatchObject({ path: 'loras/named.safetensors', state: 'unverified' })
    expect(list([claimOf(null)], [])).toMatchObject([{ path: null, state: 'missing' }])
  })

  test('may be a machine that is ready without it', () => {
    expect(list([claimOf('a', { when: 'after_start' })], [])).toMatchObject([{ after_start: true }])
  })
})

test('bytes on the disk count an inode once and leave out what is not ours', () => {
  const files = [...linked(A, 'a', 'b'), fileAt('own', { bytes: 1000 }), fileAt('.store/partial/x', { diskBytes: 3 })]
  expect(sumBytes(files, list([claimOf('a'), claimOf('b')], files))).toBe(13)
})

test('a model is chosen by name, path, or the first digits of its hash', () => {
  const files = [...linked(A, 'vae/a'), ...linked(B, 'vae/b')]
  const rows = list([], files, { index: { 'vae/a': verified(A), 'vae/b': verified(B) } })
  const choose = (...names: string[]) => {
    const { chosen, unknown } = selectModels(rows, names)
    return [chosen.map(({ path }) => path), unknown]
  }
  expect(choose()).toEqual([['vae/a', 'vae/b'], []])
  expect(choose('a', 'nothing')).toEqual([['vae/a'], ['nothing']])
  expect(choose('vae/b', A.slice(0, 12))).toEqual([['vae/a', 'vae/b'], []])
  expect(choose('aaaaa')).toEqual([[], ['aaaaa']])
})

test('the table names size, hash, state and who wants it', () => {
  const partials = new Map([[B, { arrived: 999, total: 1000 }]])
  const claims = [
    claimOf('vae/a'),
    claimOf('vae/a', { by: '0123456789abcdef', sha256: A }),
    claimOf('b', { sha256: B, when: 'after_start' }),
  ]
  const files = linked(A, 'vae/a')
  const rows = list(claims, files, { partials, index: { 'vae/a': verified(A) } })
  expect(listLines(rows, sumBytes(files, rows))).toEqual([
    'MODEL  SIZE  SHA256        STATE             WANTED BY',
    'b      1 kB  bbbbbbbbbbbb  partial 99 %      machine, after the start',
    'vae/a  1 kB  aaaaaaaaaaaa  in place, pinned  machine 01234567',
    '2 models, 1 kB on the disk',
  ])
  expect(listLines([], 0)).toEqual(['no model is wanted, and none is in the store'])
})
