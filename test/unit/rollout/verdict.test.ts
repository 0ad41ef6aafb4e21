import { describe, expect, test } from 'vitest'
import { describeGeneration, generationLines } from '../../../src/commands/generations.ts'
import { chooseGeneration } from '../../../src/commands/rollback.ts'
import type { GenerationsState, MachineState, RolloutState } from '../../../src/observe/state.ts'
import { NO_ROLLOUT, type RejectedGeneration, type RolloutRecord } from '../../../src/plan/pointers.ts'
import { judgeRollout } from '../../../src/rollout/verdict.ts'
import { inPhase } from '../observe/build-machine.ts'

const why: RejectedGeneration = {
  ...{ atUs: 1, gpu: 'gpu0', unit: 'comfyui@gpu0.service', code: 'CM1902', message: 'node-alpha', lines: [] },
}
const rollout: RolloutState = {
  generation: 'b',
  direction: 'forward',
  startUs: 1,
  gpu: 'gpu0',
  sinceUs: null,
  moves: [],
}
const stateOf = (changes: Partial<GenerationsState> = {}): MachineState => {
  const generations = { current: 'a', previous: null, gpus: {}, rollout: null, rejected: null, ...changes }
  return { ...inPhase('ready').state, generations }
}
const record: RolloutRecord = { ...NO_ROLLOUT, rejected: { b: why } }
const seen = { pointers: { current: 'a', next: undefined }, record: NO_ROLLOUT, state: stateOf(), alive: true }

describe('judgeRollout', () => {
  test.each([
    [
      'the controller has not seen it',
      { pointers: { current: 'a', next: 'b' } },
      { kind: 'going', text: 'generation b waits for the controller' },
    ],
    ['it goes on', { state: stateOf({ rollout }) }, { kind: 'going', text: 'gpu0 is being moved to generation b' }],
    [
      'it goes back',
      { state: stateOf({ rollout: { ...rollout, direction: 'back' } }), record },
      { kind: 'going', text: 'gpu0 is being moved back to generation a' },
    ],
    ['it is everywhere', { pointers: { current: 'b', next: undefined } }, { kind: 'done' }],
    ['it was sent back', { record }, { kind: 'rejected', why }],
    ['its controller died', { alive: false }, { kind: 'left', reason: 'the machine is not running' }],
    [
      'its machine was stopped',
      { state: inPhase('stopped').state },
      { kind: 'left', reason: 'the machine is stopped' },
    ],
  ])('when %s', (_, changes, verdict) => {
    expect(judgeRollout({ ...seen, ...changes }, 'b')).toEqual(verdict)
  })
})

describe('chooseGeneration', () => {
  const whole = ['aa11', 'aa22', 'bb11']
  const before = { ...NO_ROLLOUT, previous: 'bb11' }

  test('takes the one before, an id or the begin of one', () => {
    expect(chooseGeneration(whole, before, undefined)).toBe('bb11')
    expect(chooseGeneration(whole, before, 'aa22')).toBe('aa22')
    expect(chooseGeneration(whole, before, 'b')).toBe('bb11')
    expect(chooseGeneration(['aa', 'aab'], before, 'aa')).toBe('aa')
  })

  test.each([
    ['there was none before', NO_ROLLOUT, undefined, 'CM1911'],
    ['the one before is gone', { ...NO_ROLLOUT, previous: 'cc' }, undefined, 'CM1911'],
    ['it is not there', before, 'cc', 'CM1911'],
    ['it may be two', before, 'aa', 'CM1911'],
    ['it was sent back', { ...before, rejected: { bb11: why } }, undefined, 'CM1910'],
  ])('throws when %s', (_, known, named, code) => {
    expect(() => chooseGeneration(whole, known, named)).toThrow(expect.objectContaining({ code }) as Error)
  })
})

test('generations are listed with what they are, and why they were sent back', () => {
  const pointers = {
    current: 'a',
    next: undefined,
    isBuilding: false,
    gpus: new Map([
      ['gpu0', 'a'],
      ['gpu1', 'a'],
    ]),
  }
  const known: RolloutRecord = { ...record, proven: ['a'], previous: 'b', pinned: { generation: 'a', wish: 'b' } }
  const rows = ['a', 'b'].map((id) => ({
    ...describeGeneration(id, pointers, known),
    ...{ commit: '0123456789abcdef', ref: 'v1', nodes: 3, built_at: '2000-01-02T03:04:05.000000Z' },
  }))
  expect(rows).toMatchObject([
    { states: ['current', 'pinned', 'proven'], gpus: ['gpu0', 'gpu1'], rejected: null },
    { states: ['previous', 'rejected'], gpus: [], rejected: why },
  ])
  expect(generationLines(rows)).toEqual([
    'GENERATION  COMFYUI        NODES  BUILT                 GPUS       STATE',
    'a           v1 0123456789  3      2000-01-02T03:04:05Z  gpu0 gpu1  current, pinned, proven',
    'b           v1 0123456789  3      2000-01-02T03:04:05Z  -          previous, rejected',
    'b was sent back by gpu0: CM1902 node-alpha',
  ])
  expect(generationLines([])).toEqual(['no generation is installed'])
})
