import { describe, expect, test } from 'vitest'
import { NO_ROLLOUT, planPointers, type RejectedGeneration, type RolloutRecord } from '../../../src/plan/pointers.ts'
import { parseRollout, pin, prove, reject, renderRollout, settle, unpin } from '../../../src/plan/rollout-record.ts'

const GPUS = ['gpu0', 'gpu1', 'gpu2']
const WHY: RejectedGeneration = {
  ...{ atUs: 5, gpu: 'gpu0', unit: 'comfyui@gpu0.service', code: 'CM1902', message: 'node-alpha', lines: [] },
}
const proven: RolloutRecord = { ...NO_ROLLOUT, proven: ['a'] }
const decide = (current: string | undefined, wanted: string, rollout = NO_ROLLOUT) => {
  const { gpus, ...plan } = planPointers({ current, wanted, rollout, gpus: GPUS })
  return { ...plan, gpus: [...gpus.values()].join(' ') }
}

describe('planPointers', () => {
  test.each([
    ['nothing is there', undefined, 'b', NO_ROLLOUT, { how: 'first', current: 'b', next: null, gpus: 'b b b' }],
    ['it is there', 'a', 'a', NO_ROLLOUT, { how: 'same', current: 'a', next: null, gpus: 'a a a' }],
    ['what is there proved nothing', 'a', 'b', NO_ROLLOUT, { how: 'first', current: 'b', next: null, gpus: 'b b b' }],
    ['it is new', 'a', 'b', proven, { how: 'canary', current: 'a', next: 'b', gpus: 'b a a' }],
    ['it ran before', 'a', 'b', prove(proven, 'b'), { how: 'proven', current: 'b', next: null, gpus: 'b b b' }],
    [
      'it was sent back',
      'a',
      'b',
      reject(proven, 'b', WHY),
      { how: 'rejected', current: 'a', next: 'b', gpus: 'a a a' },
    ],
    [
      'the machine was rolled back from it',
      'a',
      'b',
      pin(proven, 'a', 'b'),
      { how: 'pinned', current: 'a', next: null, gpus: 'a a a' },
    ],
    [
      'it is to be rolled back from',
      'b',
      'b',
      pin(proven, 'a', 'b'),
      { how: 'pinned', current: 'a', next: null, gpus: 'a a a' },
    ],
    [
      'the machine was rolled back from another',
      'a',
      'c',
      pin(proven, 'a', 'b'),
      { how: 'canary', current: 'a', next: 'c', gpus: 'c a a' },
    ],
  ])('of a start when %s', (_, current, wanted, rollout, plan) => {
    expect(decide(current, wanted, rollout)).toEqual(plan)
  })
})

describe('the record', () => {
  test('is what was written, and nothing where that is none', () => {
    const record = pin(reject(prove(proven, 'b'), 'c', WHY), 'a', 'b')
    expect(parseRollout(renderRollout(record))).toEqual(record)
    for (const text of [undefined, '', '{', 'null', '{"schema":2,"proven":[]}'])
      expect(parseRollout(text)).toBe(NO_ROLLOUT)
  })

  test('names what was current before', () => {
    expect(settle(NO_ROLLOUT, 'a')).toMatchObject({ proven: ['a'], previous: null })
    expect(settle(proven, 'b')).toMatchObject({ proven: ['a', 'b'], previous: 'a' })
    expect(settle(settle(proven, 'b'), 'a')).toMatchObject({ proven: ['b', 'a'], previous: 'b' })
  })

  test('forgets that a generation was sent back when it proves itself, and the other way round', () => {
    const rejected = reject(proven, 'b', WHY)
    expect(prove(rejected, 'b')).toEqual({ ...proven, proven: ['a', 'b'] })
    expect(reject(prove(proven, 'b'), 'b', WHY)).toEqual(rejected)
    expect(reject(pin(proven, 'b', 'a'), 'b', WHY).pinned).toBeUndefined()
    expect(reject(pin(proven, 'a', 'b'), 'b', WHY).pinned).toEqual({ generation: 'a', wish: 'b' })
  })

  test('does not grow for ever', () => {
    let record = NO_ROLLOUT
    for (let index = 0; index < 50; index += 1)
      record = reject(prove(record, `p${index}`), `r${index}`, { ...WHY, atUs: index })
    expect(record.proven).toHaveLength(20)
    expect(record.proven.at(-1)).toBe('p49')
    expect(Object.keys(record.rejected)).toHaveLength(20)
    expect(record.rejected['r49']?.atUs).toBe(49)
  })

  test('keeps what the machine wants over several rollbacks, and holds nothing when it is back there', () => {
    const once = pin(proven, 'b', 'c')
    expect(once.pinned).toEqual({ generation: 'b', wish: 'c' })
    expect(pin(once, 'b', 'c')).toBe(once)
    expect(pin(once, 'a', 'b').pinned).toEqual({ generation: 'a', wish: 'c' })
    expect(pin(once, 'c', 'b')).toBe(once)
    expect(unpin(once)).toEqual(proven)
  })
})
