import { describe, expect, it } from 'vitest'
import { digest } from '../../../src/host/digest.ts'
import { discoverComponents } from '../../../src/install/discover.ts'
import { generationId, type LockContent } from '../../../src/install/generation.ts'
import { parseLock } from '../../../src/install/lock-schema.ts'
import type { LockedNode } from '../../../src/install/machine-lock.ts'
import { commitOf, nodeOf } from './build-context.ts'
import { memoryContext } from './context.ts'

const node: LockedNode = { ...nodeOf('a', { classes: ['A'] }), commit: commitOf('a0'), pinned: true }
const content: LockContent = {
  schema: 1,
  wish: 'w',
  comfyui: { repoUrl: 'https://git.example/comfyui', ref: null, resolved: 'v1', commit: commitOf('c0') },
  python: {
    interpreter: '/usr/bin/python3.13',
    version: '3.13',
    machine: 'x86_64',
    installer: 'uv',
    torchBackend: null,
  },
  nodes: [node],
  requirements: 'torch==2.9.0\n',
  models: [],
  leftOut: [],
}
const textOf = (changes: object = {}): string => {
  const changed = { ...content, ...changes } as LockContent
  return JSON.stringify({ ...changed, generation: generationId(changed, digest), ...changes })
}
const parse = (text: string) => parseLock(text, 'lock.json', { allowInsecure: false, digest })

describe('parseLock', () => {
  it('reads what a build has written', () => {
    expect(parse(textOf())).toEqual({ ...content, generation: generationId(content, digest) })
    const told = [{ ...node, classes: ['A', 'B'] }]
    expect(parse(textOf({ nodes: told })).nodes).toEqual(told)
    const model = { name: 'ae', url: 'https://m.example/ae', path: 'vae/ae', bytes: null, estimatedBytes: 0 }
    const models = [{ ...model, sha256: null, authEnvVar: null, when: 'after_start', sources: ['w'] }]
    expect(parse(textOf({ models })).models).toEqual(models)
    expect(() => parse(textOf({ models: [{ ...models[0], when: 'before_start' }] }))).toThrow(/models\.0\.when/)
  })

  it.each([
    ['no JSON', 'x', /lock\.json is not JSON/],
    ['another schema', textOf({ schema: 2 }), /schema: /],
    [
      'a node without a commit',
      textOf({ nodes: [{ ...node, commit: 'master' }] }),
      /nodes\.0\.commit: is not a commit id/,
    ],
    ['a field too many', textOf({ surprise: 1 }), /the document: .*surprise/],
    ['a content that was changed', textOf({ generation: '0123456789abcdef' }), /generation is 0123456789abcdef, and/],
    ['an id that is a path', textOf({ generation: '../../etc' }), /generation: is not the id/],
  ])('refuses %s and says where', (_what, text, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'CM1608' }))
    expect(() => parse(text)).toThrow(message)
  })

  it.each([
    ['a name that leaves the tree', { ...node, name: '../x' }],
    ['a URL that runs a program', { ...node, url: 'ext::sh -c x' }],
    ['a plain http URL', { ...node, url: 'http://git.example/a' }],
  ])('refuses %s', (_what, bad) => {
    expect(() => parse(textOf({ nodes: [bad] }))).toThrow(expect.objectContaining({ code: 'CM1607' }))
  })
})

describe('discoverComponents with a lock', () => {
  const noHttp = () => Promise.reject(new Error('nobody is asked'))

  it('takes nodes and models from it, asks nobody, and reads it once', async () => {
    const context = memoryContext({ apiUrl: null, lockFile: '/etc/lock.json' })
    context.texts.set('/etc/lock.json', textOf())
    await discoverComponents(context, noHttp)
    const written = context.texts.get('/w/components.json') ?? ''
    expect(JSON.parse(written)).toMatchObject({ nodes: [{ name: 'a' }], lock: { requirements: 'torch==2.9.0\n' } })
    expect(context.lines.at(-1)).toMatchObject({ attributes: { 'components.nodes': 1, 'components.changed': true } })
    await discoverComponents(context, noHttp)
    expect(context.lines.at(-1)).toMatchObject({ attributes: { 'components.changed': false } })
    expect(context.texts.get('/w/components.json')).toBe(written)
  })

  it('leaves what it had when the lock cannot be used', async () => {
    const context = memoryContext({ apiUrl: null, lockFile: '/etc/lock.json' })
    context.texts.set('/w/components.json', 'before')
    await expect(discoverComponents(context, noHttp)).rejects.toMatchObject({ code: 'CM1608' })
    context.texts.set('/etc/lock.json', '{}')
    await expect(discoverComponents(context, noHttp)).rejects.toMatchObject({ code: 'CM1608' })
    expect(context.texts.get('/w/components.json')).toBe('before')
  })
})
