import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StoredFile } from '../../../src/host/inventory-ports.ts'
import { planGc } from '../../../src/models/gc-plan.ts'
import type { VerifiedFile } from '../../../src/models/model-plan.ts'
import { type Claim, reachOf } from '../../../src/models/reach.ts'
import { blobHash, isInStore } from '../../../src/models/store-view.ts'
import { claimOf, fileAt, hashOf, linked } from './stored.ts'

const [A, B, C] = [hashOf('a'), hashOf('b'), hashOf('c')]
const digest = (text: string): string => `d-${text}`

function plan(claims: readonly Claim[], files: readonly StoredFile[], index: Record<string, VerifiedFile> = {}) {
  const { removals, ...rest } = planGc({ files, index }, reachOf(claims, index, digest))
  return { ...rest, removals: removals.map(({ path, kind }) => `${kind} ${path}`) }
}
const verified = (sha256: string | null, changes: Partial<VerifiedFile> = {}): VerifiedFile => ({
  bytes: 10,
  mtimeMs: 1,
  sha256,
  ...changes,
})

describe('what goes', () => {
  test('a model that nobody wants, with its content: its bytes become free', () => {
    const index = { 'vae/a': verified(A, { brought: true }) }
    expect(plan([], linked(A, 'vae/a'), index)).toEqual({
      removals: [`blob .store/blobs/sha256/${A}`, 'model vae/a'],
      freedBytes: 10,
      forgotten: ['vae/a'],
    })
  })

  test('a content without a name that ComfyUI sees', () => {
    expect(plan([], linked(A))).toMatchObject({ removals: [`blob .store/blobs/sha256/${A}`], freedBytes: 10 })
  })

  test('a download that nobody wants, or that has arrived another way', () => {
    const files = [
      ...[`.store/partial/${A}`, `.store/partial/${A}.map`, '.store/partial/x.tmp'].map((path) => fileAt(path)),
      fileAt(`.store/partial/${B}`),
      ...linked(B),
    ]
    expect(plan([claimOf('b', { sha256: B })], files).removals).toEqual([
      `partial .store/partial/${A}`,
      `partial .store/partial/${A}.map`,
      'leftover .store/partial/x.tmp',
      `partial .store/partial/${B}`,
    ])
  })

  test('what was put aside, and temporary names of ours', () => {
    const files = ['.store/damaged/x', 'vae/.placing-0123456789abcdef', 'vae/a.tmp', '.store/lock']
    expect(
      plan(
        [],
        files.map((path) => fileAt(path)),
      ).removals,
    ).toEqual(['leftover .store/damaged/x', 'leftover vae/.placing-0123456789abcdef'])
  })

  test('from the index what is gone anyway', () => {
    expect(plan([claimOf('b')], [], { a: verified(A), b: verified(B) }).forgotten).toEqual(['a'])
  })
})

describe('what stays', () => {
  test('a file that people put there, and the content that it shares', () => {
    expect(plan([], linked(A, 'vae/a'), { 'vae/a': verified(A) }).removals).toEqual([])
    expect(plan([], [fileAt('vae/own')]).removals).toEqual([])
  })

  test('a file that was brought and that somebody has changed since', () => {
    const index = { 'vae/a': verified(A, { brought: true }) }
    expect(plan([], [fileAt('vae/a', { mtimeMs: 2 })], index)).toMatchObject({ removals: [], forgotten: [] })
  })

  test('what another generation wants at the same path', () => {
    const claims = [claimOf('a', { sha256: A }), claimOf('a', { sha256: B, by: '0123456789abcdef' })]
    expect(plan(claims, [...linked(A, 'a'), ...linked(B)], { a: verified(A, { brought: true }) }).removals).toEqual([])
  })

  test('the content of a model whose hash nobody declares', () => {
    const claims = [claimOf('a')]
    const index = { a: verified(A, { brought: true, source: digest('https://models.example/a') }) }
    expect(plan(claims, linked(A), index)).toMatchObject({ removals: [], forgotten: [] })
    const moved = { b: { ...index.a } }
    expect(plan(claims, linked(A), moved).removals).toEqual([])
  })

  test('a model that is only named, wherever it lies', () => {
    const index = { 'loras/named.safetensors': verified(A, { brought: true }) }
    expect(plan([claimOf(null)], linked(A, 'loras/named.safetensors'), index).removals).toEqual([])
  })

  test('a download that somebody waits for', () => {
    const url = `url-${'e'.repeat(64)}`
    const files = [`.store/partial/${A}`, `.store/partial/${url}`, `.store/partial/${url}.map`]
    const claims = [claimOf('a', { sha256: A }), claimOf('b')]
    const reach = reachOf(claims, {}, () => 'e'.repeat(64))
    expect(planGc({ files: files.map((path) => fileAt(path)), index: {} }, reach).removals).toEqual([])
  })
})

test('bytes of a file that has another name elsewhere do not become free', () => {
  const [blob] = linked(A)
  expect(plan([], blob === undefined ? [] : [{ ...blob, links: 2 }]).freedBytes).toBe(0)
})

test('nothing that is reached is ever removed, and what stays has its content', () => {
  const hashes = [A, B, C]
  const paths = ['vae/a', 'vae/b', 'loras/a', 'c']
  const claims = fc.array(
    fc
      .record({ path: fc.constantFrom(...paths, null), sha256: fc.constantFrom(...hashes, null) })
      .map(({ path, sha256 }) => claimOf(path, { sha256, ...(path === null ? { name: 'a' } : {}) })),
  )
  const placed = fc.dictionary(
    fc.constantFrom(...paths),
    fc.record({
      sha256: fc.constantFrom(...hashes),
      isLinked: fc.boolean(),
      known: fc.option(fc.record({ brought: fc.boolean(), mtimeMs: fc.constantFrom(1, 2), isPin: fc.boolean() })),
    }),
  )
  fc.assert(
    fc.property(claims, placed, fc.subarray(hashes), (wanted, visible, blobs) => {
      const entries = Object.entries(visible)
      const files = [
        ...blobs.map((sha256) => fileAt(`.store/blobs/sha256/${sha256}`, { inode: sha256, links: 9 })),
        ...entries.map(([path, { sha256, isLinked }]) => fileAt(path, isLinked ? { inode: sha256, links: 9 } : {})),
      ]
      const index = Object.fromEntries(
        entries.flatMap(([path, { sha256, known }]) => {
          if (known === null) return []
          const source = known.isPin ? { source: digest(`https://models.example/${path.split('/').at(-1)}`) } : {}
          const brought = known.brought ? { brought: true as const } : {}
          return [[path, { bytes: 10, mtimeMs: known.mtimeMs, sha256, ...source, ...brought }]]
        }),
      ) as Record<string, VerifiedFile>
      const { removals, forgotten } = planGc({ files, index }, reachOf(wanted, index, digest))
      const gone = new Set(removals.map(({ path }) => path))
      const left = files.filter(({ path }) => !gone.has(path))
      for (const { model } of wanted) {
        const known = model.path === null ? undefined : index[model.path]
        for (const hash of [model.sha256, known?.sha256 ?? null])
          if (hash !== null) expect(gone).not.toContain(`.store/blobs/sha256/${hash}`)
        if (model.path === null) continue
        expect(gone).not.toContain(model.path)
        expect(forgotten).not.toContain(model.path)
      }
      for (const path of gone) if (!isInStore(path)) expect(index[path]?.brought).toBe(true)
      const inodes = new Set(left.filter(({ path }) => !isInStore(path)).map(({ inode }) => inode))
      for (const file of files) if (blobHash(file.path) && inodes.has(file.inode)) expect(gone).not.toContain(file.path)
    }),
  )
})
