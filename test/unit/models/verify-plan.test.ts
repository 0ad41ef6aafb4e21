import { expect, test } from 'vitest'
import { damageLine, isSameFile, planVerify, wantedBy } from '../../../src/models/verify-plan.ts'
import { fileAt, hashOf, linked } from './stored.ts'

const [A, B] = [hashOf('a'), hashOf('b')]
const verified = (sha256: string | null) => ({ bytes: 10, mtimeMs: 1, sha256 })
const row = { name: 'a', bytes: 10, state: 'in_place', arrived_bytes: null, pinned: false, after_start: false } as const

test('each inode is read once and held to the name of its blob, else to the index', () => {
  const files = [...linked(A, 'vae/a', 'loras/a'), fileAt('vae/copy'), fileAt('own'), fileAt('vae/unknown')]
  const index = { 'vae/a': verified(B), 'vae/copy': verified(B), 'vae/unknown': verified(null) }
  expect(planVerify({ files, index }, undefined).map(({ paths, expected }) => [paths, expected])).toEqual([
    [[`.store/blobs/sha256/${A}`, 'loras/a', 'vae/a'], A],
    [['vae/copy'], B],
  ])
})

test('only what was chosen is read', () => {
  const files = [...linked(A, 'vae/a'), ...linked(B), fileAt('vae/copy')]
  const index = { 'vae/copy': verified(A) }
  const chosen = [{ ...row, path: 'vae/a', sha256: A, wanted_by: [] }]
  expect(planVerify({ files, index }, chosen).map(({ paths }) => paths.at(-1))).toEqual(['vae/a', 'vae/copy'])
})

test('damage names the file, both hashes and who wants it', () => {
  const [check] = planVerify({ files: linked(A, 'vae/a'), index: {} }, undefined)
  if (check === undefined) throw new Error('no check')
  const wanted = wantedBy([{ ...row, path: 'vae/a', sha256: A, wanted_by: ['machine', '0123'] }], check)
  expect(damageLine({ ...check, found: B, wanted_by: wanted })).toBe(
    `.store/blobs/sha256/${A}, vae/a: sha256 is ${B}, expected ${A}; wanted by machine 0123`,
  )
  expect(damageLine({ ...check, found: null, reason: 'EIO: i/o error, read', wanted_by: [] })).toContain(
    'it cannot be read: EIO: i/o error, read',
  )
  expect(isSameFile(check, { inode: A, mtimeMs: 1, bytes: 10 })).toBe(true)
  expect(isSameFile(check, { inode: A, mtimeMs: 2, bytes: 10 })).toBe(false)
})
