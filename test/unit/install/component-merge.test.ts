import { describe, expect, it } from 'vitest'
import { mergeModels, mergeNodes } from '../../../src/install/component-merge.ts'
import { parseSize, toWantedModel, toWantedNode } from '../../../src/install/component-normalize.ts'
import { parseDefaults, parseWorkflows } from '../../../src/install/component-schema.ts'
import type { ComponentSource, WantedModel, WantedNode } from '../../../src/install/components.ts'

const node = (name: string, more: Partial<WantedNode> = {}): WantedNode => ({
  name,
  url: `https://git.example/${name}`,
  branch: null,
  commit: null,
  recursive: false,
  requirements: false,
  env: {},
  customScript: null,
  installOrder: null,
  isDefault: false,
  sources: ['workflow w'],
  ...more,
})
const ofDefaults = (name: string, installOrder: number | null, more: Partial<WantedNode> = {}): WantedNode =>
  node(name, { isDefault: true, installOrder, sources: ['defaults'], ...more })
const source = (nodes: readonly WantedNode[], models: readonly WantedModel[] = []): ComponentSource => ({
  label: 'x',
  nodes,
  models,
})
const model = (path: string | null, more: Partial<WantedModel> = {}): WantedModel => ({
  name: 'ae.safetensors',
  url: 'https://m.example/ae',
  path,
  bytes: null,
  estimatedBytes: 0,
  sha256: null,
  authEnvVar: null,
  sources: ['workflow w'],
  ...more,
})

describe('mergeNodes', () => {
  it('orders defaults, then further nodes with an order, then the others by name', () => {
    const sources = [
      source([ofDefaults('d2', 2), ofDefaults('d1', 1), ofDefaults('d-last', null)]),
      source([node('z'), node('b', { installOrder: 5 }), node('a'), node('c', { installOrder: 1 })]),
    ]
    expect(mergeNodes(sources).map(({ name }) => name)).toEqual(['d1', 'd2', 'd-last', 'c', 'b', 'a', 'z'])
  })
  it('takes the classes that every source says a node has', () => {
    const row = { name: 'n', repositoryUrl: 'https://git.example/n', node_classes: ['B', 'A'] }
    const [told] = parseDefaults([row]).map((each) => toWantedNode(each, 'defaults', true, false))
    expect(told?.classes).toEqual(['B', 'A'])
    const [silent] = parseDefaults([{ ...row, node_classes: null }]).map((each) =>
      toWantedNode(each, 'w', false, false),
    )
    expect(silent).not.toHaveProperty('classes')
    const both = mergeNodes([
      source([ofDefaults('n', 1, { classes: ['A'] })]),
      source([node('n', { classes: ['A', 'C'] })]),
    ])
    expect(both[0]?.classes).toEqual(['A', 'C'])
  })
  it('leaves a default in its place and gives it the pin and the wishes of a workflow', () => {
    const wish = node('d1', { commit: 'c1', requirements: true, installOrder: 0, url: 'https://git.example/d1.git' })
    const merged = mergeNodes([source([ofDefaults('d0', 1), ofDefaults('d1', 2)]), source([wish])])
    expect(merged.map(({ name }) => name)).toEqual(['d0', 'd1'])
    expect(merged[1]).toMatchObject({
      commit: 'c1',
      requirements: true,
      installOrder: 2,
      isDefault: true,
      sources: ['defaults', 'workflow w'],
    })
  })
  it.each([
    ['commit', { commit: 'c1' }, { commit: 'c2' }],
    ['branch', { branch: 'a' }, { branch: 'b' }],
    ['repository', {}, { url: 'https://git.example/fork' }],
    ['TOKEN', { env: { TOKEN: 'A' } }, { env: { TOKEN: 'B' } }],
  ])('refuses two values of %s and names both sources', (what, left, right) => {
    const sources = [source([ofDefaults('a', 1, left)]), source([node('a', { ...right, sources: ['workflow other'] })])]
    expect(() => mergeNodes(sources)).toThrow(expect.objectContaining({ code: 'CM1606' }))
    expect(() => mergeNodes(sources)).toThrow(new RegExp(`defaults.*${what}.*workflow other`))
  })
})

describe('when a model is needed', () => {
  const row = { name: 'ae', downloadUrl: 'https://m.example/ae', saveTo: 'models/vae/ae' }
  const parse = (when: unknown): WantedModel => {
    const [workflow] = parseWorkflows([{ workflow_name: 'w', models: [{ ...row, when }] }])
    const [first = ''] = workflow?.models ?? []
    return toWantedModel(first, 'workflow w', false)
  }
  const merged = (...models: readonly WantedModel[]) => mergeModels([source([], models)]).map(({ when }) => when)

  it('is before the start, unless its source says afterwards', () => {
    for (const when of [undefined, null, 'before_start']) expect(parse(when)).not.toHaveProperty('when')
    expect(parse('after_start').when).toBe('after_start')
  })

  it.each(['after', '', 1, true])('is not %j, and the place of that is named', (when) => {
    expect(() => parse(when)).toThrow(expect.objectContaining({ code: 'CM1604' }))
    expect(() => parse(when)).toThrow(/POST \/workflows\/dependencies: data\.0\.models\.0\.when: /)
  })

  it('is before the start when any source needs it then', () => {
    const later = model('vae/ae', { when: 'after_start' })
    expect(merged(later, later)).toEqual(['after_start'])
    expect(merged(later, model('vae/ae'))).toEqual([undefined])
    expect(merged(model('vae/ae'), later)).toEqual([undefined])
    expect(merged(model(null, { name: 'ae', url: null }), later)).toEqual([undefined])
  })
})

describe('mergeModels', () => {
  it('wants a file once, with all that is known of it', () => {
    const merged = mergeModels([
      source([], [model('vae/ae', { bytes: 7, estimatedBytes: 7 })]),
      source([], [model('vae/ae', { sha256: 'aa', sources: ['collection 1'] })]),
    ])
    expect(merged).toHaveLength(1)
    expect(merged[0]).toMatchObject({ bytes: 7, sha256: 'aa', sources: ['workflow w', 'collection 1'] })
  })
  it('takes two addresses for one hash, and refuses two files for one place', () => {
    const other = { url: 'https://mirror.example/ae', sources: ['collection 1'] }
    const same = [source([], [model('a', { sha256: 'aa' }), model('a', { ...other, sha256: 'aa' })])]
    expect(mergeModels(same)).toHaveLength(1)
    for (const right of [model('a', other), model('a', { ...other, sha256: 'bb' })]) {
      expect(() => mergeModels([source([], [model('a', { sha256: 'aa' }), right])])).toThrow(
        /workflow w and collection 1/,
      )
    }
  })
  it('takes a model that is only named for the one that is given whole', () => {
    const named = model(null, { url: null })
    expect(mergeModels([source([], [named, model('vae/ae.safetensors')])])).toHaveLength(1)
    expect(mergeModels([source([], [named])])).toHaveLength(1)
  })
})

describe('reading the answers', () => {
  it('takes unknown fields, and names the path of one that does not fit', () => {
    const [read] = parseDefaults([{ name: 'a', repositoryUrl: 'u', requirements: true, stars: 3, branch: null }])
    expect(read).toMatchObject({ name: 'a', requirements: true, recursive: false })
    expect(() => parseDefaults([{ name: 'a', repositoryUrl: 'u' }, { name: 'b' }])).toThrow(/data\.1\.repositoryUrl/)
    expect(() => parseWorkflows({})).toThrow(expect.objectContaining({ code: 'CM1604' }))
  })
  it('makes a wanted node of it', () => {
    const [read] = parseDefaults([
      {
        name: 'a',
        repositoryUrl: 'git clone https://git.example/a',
        commit: 'ABC',
        custom_script: ' ',
        install_order: 3,
      },
    ])
    if (read === undefined) throw new Error('nothing was read')
    expect(toWantedNode(read, 'defaults', true, false)).toMatchObject({
      url: 'https://git.example/a',
      commit: 'abc',
      customScript: null,
      installOrder: 3,
    })
  })
  it('makes a wanted model of it, whichever name the address has', () => {
    const hash = 'A'.repeat(64)
    for (const key of ['downloadUrl', 'url', 'download_url']) {
      const [workflow] = parseWorkflows([
        {
          workflow_name: 'w',
          models: [
            {
              name: 'ae',
              [key]: 'https://m.example/a',
              saveTo: 'models/vae/ae',
              fileSize: '1.5GB',
              hash: `sha256:${hash}`,
            },
          ],
        },
      ])
      const [read] = workflow?.models ?? []
      expect(toWantedModel(read ?? '', 'workflow w', false)).toMatchObject({
        url: 'https://m.example/a',
        path: 'vae/ae',
        bytes: null,
        estimatedBytes: 1_500_000_000,
        sha256: hash.toLowerCase(),
      })
    }
    expect(toWantedModel('ae.safetensors', 'workflow w', false)).toMatchObject({
      name: 'ae.safetensors',
      url: null,
      path: null,
    })
  })
  it('reads sizes: a number is exact, a text is an estimate', () => {
    expect(parseSize(1234)).toEqual({ exact: 1234, estimate: 1234 })
    expect(parseSize('1234')).toEqual({ exact: 1234, estimate: 1234 })
    expect(parseSize('2GiB')).toEqual({ exact: null, estimate: 2 * 1024 ** 3 })
    expect(parseSize('large')).toEqual({ exact: null, estimate: 0 })
  })
})
