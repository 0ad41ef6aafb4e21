import { describe, expect, test } from 'vitest'
import type { WantedNode } from '../../../src/install/components.ts'
import type { LockedNode, MachineLock } from '../../../src/install/machine-lock.ts'
import { isUnchanged, type Preview, type PreviewFacts, previewChanges } from '../../../src/install/preview.ts'
import { previewLines } from '../../../src/install/preview-text.ts'
import type { ModelChange } from '../../../src/models/preview-models.ts'

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
const change = (name: string, bytes: number | null, action: ModelChange['action'] = 'download'): ModelChange => ({
  ...{ name, path: `vae/${name}`, action, bytes, host: 'models.example' },
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
  test('are counted in bytes', () => {
    const models = [
      change('half', 2e9),
      change('other', 1e9),
      change('unknown', null),
      change('foreign', null, 'verify'),
    ]
    const preview = previewChanges(facts({ models }))
    expect(preview).toMatchObject({ downloadBytes: 3e9, unknownSizes: 1 })
    expect(isUnchanged(preview)).toBe(false)
  })
})

test('the text lists what changes and counts what stays', () => {
  const preview = previewChanges(
    facts({
      nodes: [node('one'), node('three', { commit: B })],
      isSameWish: false,
      models: [change('ae', 335_123_456), change('copy', null, 'place')],
    }),
  )
  const disk = {
    path: '/m',
    ...{ neededBytes: 335_123_456, freeBytes: 1e6, neededInodes: 2, freeInodes: 1, fits: false },
  }
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
  + vae/ae  335.1 MB  from models.example
  + vae/copy  shares the content of a file that is there or comes
  335.1 MB (335,123,456 bytes) to download
disk
  /m: 335.1 MB needed, 1.0 MB free, 2 inodes needed, 1 free: the models do not fit`)
})
