import { expect, test } from 'vitest'
import { parseExpected } from '../../../src/worker/expected.ts'

test('a lock or the components say which nodes and models there are to be', () => {
  const node = { name: 'face', commit: 'a'.repeat(40), requirements: true, classes: ['Face'] }
  const model = { name: 'ae.safetensors', path: 'vae/ae.safetensors' }
  const text = JSON.stringify({
    schema: 1,
    nodes: [{ ...node, url: 'https://a.test' }, { name: 'bare' }],
    models: [model],
  })
  expect(parseExpected(text)).toEqual({
    nodes: [node, { name: 'bare', commit: null, requirements: false, classes: [] }],
    models: [model],
  })
})

test('nothing is expected where there is neither', () => {
  expect(parseExpected(undefined)).toEqual({ nodes: [], models: [] })
  expect(parseExpected('{}')).toEqual({ nodes: [], models: [] })
})
