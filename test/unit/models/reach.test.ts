import { describe, expect, test } from 'vitest'
import type { WantedModel } from '../../../src/install/components.ts'
import { readClaims, readWanted, requireCertain } from '../../../src/models/reach.ts'
import { memoryContext } from '../install/context.ts'
import { claimOf } from './stored.ts'

const [WHOLE, HALF, NAMED] = ['0'.repeat(16), '1'.repeat(16), '2'.repeat(16)]
const GENERATIONS = '/w/comfyui/generations'

async function read(texts: Readonly<Record<string, string>>, links: Readonly<Record<string, string>> = {}) {
  const { host, texts: kept } = memoryContext()
  for (const [path, text] of Object.entries(texts)) kept.set(path, text)
  for (const [path, target] of Object.entries(links)) await host.files.link(target, path)
  const { claims, ...rest } = await readClaims(host.files, '/w')
  return { ...rest, claims: claims.map(({ by, model }) => `${by} ${model.path}`) }
}
const wanting = (...models: readonly WantedModel[]): string => JSON.stringify({ schema: 1, models })
const { model: a } = claimOf('vae/a')
const { model: b } = claimOf('vae/b')

describe('readClaims', () => {
  test('asks the machine, an update, whole generations, and those that a pointer names', async () => {
    const texts = {
      '/w/components.json': wanting(a),
      '/w/components.next.json': wanting(b),
      [`${GENERATIONS}/${WHOLE}/machine.lock.json`]: wanting(a, b),
      [`${GENERATIONS}/${WHOLE}/.complete`]: '{}',
      [`${GENERATIONS}/${HALF}/machine.lock.json`]: wanting(b),
      [`${GENERATIONS}/${NAMED}/machine.lock.json`]: wanting(a),
      [`${GENERATIONS}/.staging/machine.lock.json`]: wanting(b),
    }
    const { claims, unreadable } = await read(texts, { '/w/comfyui/gpu1': `generations/${NAMED}` })
    expect(claims).toEqual(['machine vae/a', 'update vae/b', `${WHOLE} vae/a`, `${WHOLE} vae/b`, `${NAMED} vae/a`])
    expect(unreadable).toEqual([])
  })

  test('says what cannot be read', async () => {
    const complete = { [`${GENERATIONS}/${WHOLE}/.complete`]: '{}' }
    expect((await read({ '/w/components.json': '{"schema":1', ...complete })).unreadable).toEqual([
      '/w/components.json is not what it is to be',
      `${GENERATIONS}/${WHOLE}/machine.lock.json is not what it is to be`,
    ])
  })
})

describe('readWanted', () => {
  const files = async (...names: readonly string[]) => {
    const { host } = memoryContext()
    for (const name of names) {
      const mine = { ...a, sha256: name === 'components.json' ? '1' : '2' }
      await host.files.writeText(`/w/${name}`, wanting(mine, ...(name === 'components.json' ? [b] : [])))
    }
    return (await readWanted(host.files, '/w'))?.map(({ path, sha256 }) => [path, sha256])
  }

  test('is what the last start and the last update asked for, the newer one first', async () => {
    expect(await files('components.json')).toEqual([
      ['vae/a', '1'],
      ['vae/b', null],
    ])
    expect(await files('components.json', 'components.next.json')).toEqual([
      ['vae/a', '2'],
      ['vae/b', null],
    ])
    expect(await files('components.next.json', 'components.json')).toEqual([
      ['vae/a', '1'],
      ['vae/b', null],
    ])
  })

  test('is not known before the first start', async () => {
    expect(await files()).toBeUndefined()
  })
})

describe('requireCertain', () => {
  test('refuses to guess', async () => {
    expect(() => requireCertain({ claims: [], asked: [], unreadable: [] }, '/w')).toThrow(/nothing is installed in \/w/)
    expect(() => requireCertain({ claims: [], asked: ['machine'], unreadable: ['/w/x: no'] }, '/w')).toThrow('/w/x: no')
  })

  test('believes a machine that wants no models', async () => {
    const claims = await readClaims(withText('/w/components.json', wanting()), '/w')
    expect(() => requireCertain(claims, '/w')).not.toThrow()
  })
})

function withText(path: string, text: string) {
  const { host, texts } = memoryContext()
  texts.set(path, text)
  return host.files
}
