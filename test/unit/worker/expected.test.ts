import { expect, test } from 'vitest'
import { parseExpected } from '../../../src/worker/expected.ts'

const COMMIT = 'a'.repeat(40)
const node = (name: string, more: object = {}) => ({ name, url: 'https://a.test', requirements: true, ...more })
const textOf = (nodes: readonly object[], ...models: readonly string[]): string =>
  JSON.stringify({ schema: 1, nodes, models: models.map((name) => ({ name })) })

test('the nodes are those of the generation, at its commits', () => {
  const lock = textOf([node('face', { commit: COMMIT }), { name: 'bare' }])
  const components = textOf([node('face', { commit: null }), node('unbuilt')])
  expect(parseExpected(lock, components).nodes).toEqual([
    { name: 'face', commit: COMMIT, requirements: true, classes: [] },
    { name: 'bare', commit: null, requirements: false, classes: [] },
  ])
})

test('models and classes are those of the generation too: a canary has others than the machine', () => {
  const lock = textOf([node('a', { classes: ['New'] })], 'new')
  const components = textOf([node('a', { classes: ['Old'] })], 'old')
  const { nodes, models } = parseExpected(lock, components)
  expect(nodes.map(({ classes }) => classes)).toEqual([['New']])
  expect(models).toEqual([{ name: 'new' }])
})

test('a model that may come after the start is not missed', () => {
  const models = [{ name: 'ae' }, { name: 'wan', when: 'after_start' }]
  expect(parseExpected(JSON.stringify({ schema: 1, models }), undefined).models).toEqual([{ name: 'ae' }])
})

test('one of both is enough, and none expects nothing', () => {
  const text = textOf([node('face')], 'ae')
  for (const expected of [parseExpected(text, undefined), parseExpected(undefined, text)])
    expect(expected).toMatchObject({ nodes: [{ name: 'face' }], models: [{ name: 'ae' }] })
  expect(parseExpected(undefined, undefined)).toEqual({ nodes: [], models: [] })
})
