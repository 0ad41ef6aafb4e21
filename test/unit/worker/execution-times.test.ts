import { describe, expect, it } from 'vitest'
import { type ExecutionTimes, foldTimes, NOT_EXECUTED } from '../../../src/worker/execution-times.ts'
import { message } from './fakes.ts'

type Told = readonly [type: string, data: Readonly<Record<string, unknown>>, atUs: number]

const fold = (...told: readonly Told[]): ExecutionTimes =>
  told.reduce((times, [type, data, atUs]) => foldTimes(times, message(type, data), atUs), NOT_EXECUTED)

describe('the times of an execution', () => {
  it('go from its begin to its first word of the end, node by node', () => {
    const times = fold(
      ['execution_start', {}, 10],
      ['execution_cached', { nodes: ['1', '2'] }, 11],
      ['executing', { node: '3', display_node: '3' }, 20],
      ['executing', { node: '3' }, 25],
      ['executing', { node: '4' }, 50],
      ['executed', { node: '4' }, 55],
      ['execution_success', {}, 60],
      ['executing', { node: null }, 70],
    )
    expect(times).toEqual({
      startUs: 10,
      endUs: 60,
      cachedNodes: 2,
      nodes: [
        { id: '3', startUs: 20, endUs: 50 },
        { id: '4', startUs: 50, endUs: 60 },
      ],
    })
  })

  it('end with an error or an interruption too', () => {
    for (const type of ['execution_error', 'execution_interrupted'])
      expect(fold(['executing', { node: '3' }, 20], [type, {}, 30])).toMatchObject({
        endUs: 30,
        nodes: [{ endUs: 30 }],
      })
  })

  it('leave open what was never told', () => {
    expect(fold(['executing', { node: '3' }, 20])).toEqual({ nodes: [{ id: '3', startUs: 20 }], cachedNodes: 0 })
    expect(fold(['status', {}, 1])).toBe(NOT_EXECUTED)
  })

  it('name a hundred nodes and no more', () => {
    const many = Array.from({ length: 150 }, (_none, index): Told => ['executing', { node: `n${index}` }, index])
    const { nodes } = fold(...many)
    expect(nodes.length).toBe(100)
    expect(nodes.at(-1)).toEqual({ id: 'n99', startUs: 99, endUs: 100 })
  })
})
