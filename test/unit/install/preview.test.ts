import { describe, expect, test } from 'vitest'
import type { WantedModel, WantedNode } from '../../../src/install/components.ts'
import type { LockedNode, MachineLock } from '../../../src/install/machine-lock.ts'
import { isUnchanged, type Preview, type PreviewFacts, previewChanges } from '../../../src/install/preview.ts'
import { previewLines } from '../../../src/install/preview-text.ts'
import { previewModels } from '../../../src/models/preview-models.ts'

const A = 'a'.repeat(40)
const B = 'b'.repeat(40)

const node = (name: string, changes: Partial<WantedNode> = {}): WantedNode => ({
  name,
  url: `https://git.example/${name}.git`,
  branch: null,
  commit: null,
  recursive: false,
  requirements: true,
  env: {},
  customScript: null,
  installOrder: null,
  isDefault: false,
  sources: ['workflow w'],
  ...changes,
})
const locked = (name: string, commit = A): LockedNode => ({ ...node(name), commit, pinned: false })
const model = (name: string, changes: Partial<WantedModel> = {}): WantedModel => ({
  name,
  url: `https://models.example/${name}`,
  path: `vae/${name}`,
  bytes: null,
  estimatedBytes: 0,
  sha256: null,
  authEnvVar: null,
  sources: ['workflow w'],
  ...changes,
})
const lock = (nodes: readonly LockedNode[]): MachineLock => ({
  schema: 1,
  generation: '0123456789abcdef',
  wish: 'w',
  comfyui: { repoUrl: 'https://git.example/c.git', ref: 'v1', resolved: 'v1', commit: A },
  python: {
    interpreter: '/usr/bin/python3.13',
    version: '3.13',
    machine: 'x86_64',
    installer: 'uv',
    torchBackend: null,
  },
  nodes,
  requirements: '',
  models: [],
  leftOut: [],
})
const facts = (changes: Partial<PreviewFacts> = {}): PreviewFacts => ({
  lock: lock([locked('one'), locked('two')]),
  comfyui: { repoUrl: 'https://git.example/c.git', ref: 'v1' },
  nodes: [node('one'), node('two')],
  isSameWish: true,
  isLocked: false,
  mirrors: new Map([['https://git.example/one.git', [A]]]),
  models: [],
  ...changes,
})
const nodesOf = (preview: Preview): readonly (readonly [string, string, string])[] =>
  preview.nodes.map(({ name, change, source }) => [name, change, source])

describe('custom nodes', () => {
  test('that are as they are wanted stay, also where only a branch was asked for', () => {
    const preview = previewChanges(facts())
    expect(nodesOf(preview)).toEqual([
      ['one', 'same', 'nothing'],
      ['two', 'same', 'nothing'],
    ])
    expect(preview).toMatchObject({ requirements: 'same', isNewGeneration: false })
    expect(isUnchanged(preview)).toBe(true)
  })

  test('come, go and change their commit; what the cache has is not cloned', () => {
    const wanted = [node('one', { commit: B }), node('three'), node('four')]
    const preview = previewChanges(
      facts({
        nodes: wanted,
        isSameWish: false,
        mirrors: new Map(['one', 'four'].map((name) => [`https://git.example/${name}.git`, [A]])),
      }),
    )
    expect(nodesOf(preview)).toEqual([
      ['one', 'update', 'fetch'],
      ['three', 'add', 'clone'],
      ['four', 'add', 'fetch'],
      ['two', 'remove', 'nothing'],
    ])
    expect(preview.nodes[0]).toMatchObject({ from: A, to: B })
    expect(preview).toMatchObject({ requirements: 'resolve', isNewGeneration: true })
  })

  test('with another script are set up anew from what is there', () => {
    const preview = previewChanges(facts({ nodes: [node('one', { customScript: 'true' }), node('two')] }))
    expect(nodesOf(preview)[0]).toEqual(['one', 'update', 'cache'])
  })

  test('of another address are cloned, whatever commit they are at', () => {
    const preview = previewChanges(
      facts({ nodes: [node('one', { url: 'https://other.example/one.git' }), node('two')] }),
    )
    expect(nodesOf(preview)[0]).toEqual(['one', 'update', 'clone'])
    expect(preview.nodes[0]?.to).toBeNull()
  })
})

describe('ComfyUI', () => {
  test.each([
    [{ ref: 'v2' }, 'update'],
    [{ repoUrl: 'https://git.example/fork.git' }, 'update'],
    [{}, 'same'],
  ])('%o is %s', (changes, change) => {
    const comfyui = { repoUrl: 'https://git.example/c.git', ref: 'v1', ...changes }
    expect(previewChanges(facts({ comfyui })).comfyui.change).toBe(change)
  })

  test('is new where there is none', () => {
    const preview = previewChanges(facts({ lock: undefined, isSameWish: false, isLocked: true }))
    expect(preview).toMatchObject({ comfyui: { change: 'add' }, isNewGeneration: true, requirements: 'locked' })
  })
})

describe('models', () => {
  test('are counted in bytes, less what has arrived', () => {
    const file = { bytes: 10, mtimeMs: 1 }
    const preview = previewChanges(
      facts({
        models: previewModels([
          { model: model('kept'), file, known: { ...file, sha256: null }, partBytes: 0 },
          {
            model: model('half', { estimatedBytes: 3_000_000_000 }),
            file: undefined,
            known: undefined,
            partBytes: 1e9,
          },
          { model: model('unknown'), file: undefined, known: undefined, partBytes: 0 },
          { model: model('foreign', { sha256: 'c'.repeat(64) }), file, known: undefined, partBytes: 0 },
          { model: model('named', { path: null, url: null }), file: undefined, known: undefined, partBytes: 0 },
        ]),
      }),
    )
    expect(preview.models.map(({ name, action, bytes }) => [name, action, bytes])).toEqual([
      ['half', 'download', 2e9],
      ['unknown', 'download', null],
      ['foreign', 'verify', null],
      ['named', 'find', null],
    ])
    expect(preview).toMatchObject({ downloadBytes: 2e9, unknownSizes: 1 })
    expect(isUnchanged(preview)).toBe(false)
  })
})

test('the text lists what changes and counts what stays', () => {
  const preview = previewChanges(
    facts({
      nodes: [node('one'), node('three', { commit: B })],
      isSameWish: false,
      models: previewModels([
        { model: model('ae', { estimatedBytes: 335e6 }), file: undefined, known: undefined, partBytes: 0 },
      ]),
    }),
  )
  const disk = { path: '/m', neededBytes: 335e6, freeBytes: 1e6, fits: false }
  const text = previewLines({ ...preview, generation: '0123456789abcdef', disk }).join('\n')
  expect(text).toBe(`comfyui
  v1 (aaaaaaaaaa), generation 0123456789abcdef, a new generation is built
custom nodes
  + three  https://git.example/three.git  at bbbbbbbbbb  cloned
  - two  https://git.example/two.git  at aaaaaaaaaa
  1 unchanged
python packages
  ~ all requirements are resolved together
models
  + vae/ae  335.0 MB  from models.example
  335.0 MB to download
disk
  /m: 335.0 MB needed, 1.0 MB free: the models do not fit`)
})
