import { describe, expect, it } from 'vitest'
import { publicEnv, renderEnvFile, resolveEnv } from '../../../src/install/node-env.ts'
import { nodeOf } from './build-context.ts'
import { memoryContext } from './context.ts'

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

describe('publicEnv', () => {
  it('leaves out everything that has to do with a secret, also its default', () => {
    const { plan, ...context } = memoryContext({}, { TOKEN: 'hush' })
    const env = {
      A: 'TOKEN',
      B: `x${reference('TOKEN')}`,
      C: reference('TOKEN:-none'),
      D: 'PUBLIC',
      E: 'text',
      F: 'NONE',
    }
    const machine = { ...context, plan: { ...plan, environment: { PUBLIC: 'p' }, secretNames: ['TOKEN'] } }
    expect(publicEnv(machine, nodeOf('a', { env }))).toEqual({ D: 'p', E: 'text' })
  })
})

describe('renderEnvFile', () => {
  it('quotes values so that none ends its line', () => {
    expect(renderEnvFile({ A: 'x y', B: `it's "q"`, C: 'a\nB=evil', D: '$HOME`x`' })).toBe(
      `A='x y'\nB="it's \\"q\\""\nC="a\\nB=evil"\nD='$HOME\`x\`'\n`,
    )
  })
})
