import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseSet, renderSet } from '../../../src/models/set-document.ts'
import { hashOf } from './stored.ts'

const model = { name: 'ae.safetensors', path: 'vae/ae.safetensors', sha256: hashOf('a'), bytes: 10 }
const parse = (value: unknown) => parseSet(JSON.stringify(value), '/set/index.json')

test('what is written is read back', () => {
  const name = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,20}$/).filter((text) => !/\.part$/.test(text))
  const set = fc.uniqueArray(
    fc.record({
      name,
      path: fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
      sha256: fc.stringMatching(/^[0-9a-f]{64}$/),
      bytes: fc.nat(),
    }),
    { selector: ({ path }) => path },
  )
  fc.assert(
    fc.property(set, (models) => {
      const read = parseSet(renderSet(models), 'index.json').models
      expect(read).toHaveLength(models.length)
      expect(read).toEqual(expect.arrayContaining(models))
    }),
  )
})

describe('a set is refused', () => {
  test.each([
    [{}, 'schema: Invalid input'],
    [{ schema: 2, models: [] }, 'schema: Invalid input'],
    [{ schema: 1, models: [{ ...model, sha256: 'x' }] }, 'models.0.sha256: is not a sha256'],
    [{ schema: 1, models: [model, { ...model, path: 'b', bytes: -1 }] }, 'models.1.bytes: Too small'],
    [{ schema: 1, models: [{ ...model, url: 'https://x' }] }, 'models.0: Unrecognized key'],
    [{ schema: 1, models: [{ ...model, path: '../../etc/passwd' }] }, 'models.0: model ae.safetensors: saveTo'],
    [{ schema: 1, models: [{ ...model, path: '.store/lock' }] }, 'has a part that starts with .'],
    [{ schema: 1, models: [{ ...model, path: '/etc/passwd' }] }, 'has a part that is empty'],
    [{ schema: 1, models: [{ ...model, name: 'a/b' }] }, 'has a slash'],
    [{ schema: 1, models: [model, model] }, 'models.1: vae/ae.safetensors is there twice'],
  ])('%#', (value, message) => {
    expect(() => parse(value)).toThrow(message)
    expect(() => parse(value)).toThrow(expect.objectContaining({ code: 'CM1813' }))
  })

  test('when it is not JSON', () => {
    expect(() => parseSet('{', '/set/index.json')).toThrow('/set/index.json is not JSON')
  })
})
