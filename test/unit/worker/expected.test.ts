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

test('models, and the classes of nodes, are those that the component source tells now', () => {
  const lock = textOf([node('a', { classes: ['Old'] }), node('b', { classes: ['Kept'] }), node('c')], 'gone')
  const components = textOf([node('a'), node('c', { classes: ['New'] })], 'ae')
  const { nodes, models } = parseExpected(lock, components)
  expect(nodes.map(({ classes }) => classes)).toEqual([[], ['Kept'], ['New']])
  expect(models).toEqual([{ name: 'ae' }])
})

test('one of both is enough, and none expects nothing', () => {
  const text = textOf([node('face')], 'ae')
  for (const expected of [parseExpected(text, undefined), parseExpected(undefined, text)])
    expect(expected).toMatchObject({ nodes: [{ name: 'face' }], models: [{ name: 'ae' }] })
  expect(parseExpected(undefined, undefined)).toEqual({ nodes: [], models: [] })
})
