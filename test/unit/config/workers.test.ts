import { describe, expect, test } from 'vitest'
import { nearest } from '../../../src/config/nearest.ts'
import { splitArguments } from '../../../src/config/split-arguments.ts'
import { parseWorkers } from '../../../src/config/workers.ts'

describe('parseWorkers', () => {
  test('reads counts, auto and a missing count', () => {
    expect(parseWorkers('comfyui:auto, sim:2 ,other')).toEqual({
      workers: [
        { type: 'comfyui', count: 'auto' },
        { type: 'sim', count: 2 },
        { type: 'other', count: 1 },
      ],
      problems: [],
    })
  })

  test.each([
    'comfyui:0',
    'comfyui:-1',
    'comfyui:',
    'comfyui:x',
    'a,,b',
    'a:1:2',
    'a:1,a:2',
    'a:auto,b:auto',
    '../x:1',
  ])('refuses %j', (text) => {
    expect(parseWorkers(text).problems).toHaveLength(1)
  })

  test('reports every entry', () => {
    expect(parseWorkers('a:x,b:0').problems).toHaveLength(2)
  })
})

describe('splitArguments', () => {
  test.each<[string, readonly string[]]>([
    ['', []],
    ['  --lowvram   --fp16-vae ', ['--lowvram', '--fp16-vae']],
    [`--a 'b c' --d="e f"`, ['--a', 'b c', '--d=e f']],
    ['a\\ b "c\\"d" \'\'', ['a b', 'c"d', '']],
  ])('splits %j', (text, words) => {
    expect(splitArguments(text)).toEqual({ words, problem: null })
  })

  test.each(['"open', "'open", 'end\\'])('refuses %j', (text) => {
    expect(splitArguments(text).problem).not.toBeNull()
  })
})

describe('nearest', () => {
  test.each([
    ['WORKER', 'WORKERS'],
    ['COMFYUI_BASE_PROT', 'COMFYUI_BASE_PORT'],
    ['workers', 'WORKERS'],
    ['ENTIRELY_DIFFERENT', undefined],
    ['PORT', undefined],
  ])('%s → %s', (word, meant) => {
    expect(nearest(word, ['WORKERS', 'COMFYUI_BASE_PORT'])).toBe(meant)
  })
})
