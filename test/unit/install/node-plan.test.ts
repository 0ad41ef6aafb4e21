import { describe, expect, it } from 'vitest'
import type { WantedNode } from '../../../src/install/components.ts'
import { renderEnvFile, resolveEnv } from '../../../src/install/node-env.ts'
import { chooseRemoved, contentKey, type NodeRecord, planNode, sourceKey } from '../../../src/install/node-plan.ts'

const node: WantedNode = {
  name: 'a',
  url: 'https://git.example/a',
  branch: null,
  commit: null,
  recursive: false,
  requirements: true,
  env: {},
  customScript: null,
  installOrder: null,
  isDefault: false,
  sources: ['defaults'],
}
const content = contentKey(node, {}, 'generation-1')
const record: NodeRecord = { schema: 1, name: 'a', url: node.url, source: sourceKey(node), commit: 'c1', content }

describe('planNode', () => {
  it('keeps what is installed as it is wanted', () => {
    expect(planNode(record, node, content)).toBe('keep')
  })
  it('places a node that is not there, not ours, or of another repository', () => {
    expect(planNode(undefined, node, content)).toBe('place')
    expect(planNode({ ...record, url: 'https://git.example/fork' }, node, content)).toBe('place')
  })
  it('changes files in place for another commit, and after a run that was killed while changing them', () => {
    expect(planNode(record, { ...node, commit: 'c2' }, content)).toBe('update')
    expect(planNode({ ...record, source: '' }, node, content)).toBe('update')
  })
  it('sets up again for another Python environment, other values, another script, or an unfinished installation', () => {
    for (const other of [
      contentKey(node, {}, 'generation-2'),
      contentKey(node, { KEY: 'new' }, 'generation-1'),
      contentKey({ ...node, customScript: 'true' }, {}, 'generation-1'),
    ]) {
      expect(planNode(record, node, other)).toBe('set-up')
    }
    expect(planNode({ ...record, content: '' }, node, content)).toBe('set-up')
  })
})

describe('chooseRemoved', () => {
  it('names only nodes of this machine that nobody wants', () => {
    const installed = [
      { name: 'a', record },
      { name: 'gone', record: { ...record, name: 'gone' } },
      { name: 'by-hand', record: undefined },
      { name: 'copy', record },
    ]
    expect(chooseRemoved(installed, [node])).toEqual(['gone'])
  })
})

const reference = (name: string): string => `\${${name}}`

describe('resolveEnv', () => {
  const lookUp = (name: string): string | undefined => ({ TOKEN: 't$1', EMPTY: '' })[name]
  it('replaces references, bare names and defaults, and leaves other texts', () => {
    const env = {
      A: reference('TOKEN'),
      B: 'TOKEN',
      C: `x-${reference('NONE:-y')}`,
      D: 'eu-west-1',
      E: reference('EMPTY'),
    }
    expect(resolveEnv(env, lookUp)).toEqual({
      values: { A: 't$1', B: 't$1', C: 'x-y', D: 'eu-west-1', E: '' },
      missing: [],
    })
  })
  it('names every variable that is not set, once', () => {
    expect(resolveEnv({ A: reference('NONE'), B: 'NONE', C: 'OTHER' }, lookUp).missing).toEqual(['NONE', 'OTHER'])
  })
})

describe('renderEnvFile', () => {
  it('quotes values so that none ends its line', () => {
    expect(renderEnvFile({ A: 'x y', B: `it's "q"`, C: 'a\nB=evil', D: '$HOME`x`' })).toBe(
      `A='x y'\nB="it's \\"q\\""\nC="a\\nB=evil"\nD='$HOME\`x\`'\n`,
    )
  })
})
