import { describe, expect, test } from 'vitest'
import { parseEnv } from '../../../src/config/parse-env.ts'

const valueIn = (text: string): string | undefined => parseEnv(text, 'f').assignments[0]?.value

describe('parseEnv', () => {
  test.each([
    ['A=plain', 'plain'],
    ['A=  spaces around  ', 'spaces around'],
    ['A=two words', 'two words'],
    ["A='single $HOME \\n'", 'single $HOME \\n'],
    ['A="double \\"quoted\\" \\$x \\q"', 'double "quoted" $x \\q'],
    ['A="ab"\'cd\'', 'abcd'],
    ['A="kept space "', 'kept space '],
    ['A=in"side', 'in"side'],
    ['A=back\\slash', 'backslash'],
    ['A=one \\\ntwo', 'one two'],
    ['A="line\nbreak"', 'line\nbreak'],
    ['A="joined \\\nline"', 'joined line'],
    ['A=end\\ ', 'end '],
    ['A=', ''],
    ['A=x=y', 'x=y'],
    ['\uFEFFA=bom\r\n', 'bom'],
  ])('reads %j as %j', (text, value) => {
    expect(parseEnv(text, 'f').problems).toEqual([])
    expect(valueIn(text)).toBe(value)
  })

  test('gives the line on which each assignment begins', () => {
    const text = '# comment \\\n; another\n\nA=1\nB="x\ny"\n  C = c\\\n d\nD=4\n'
    expect(parseEnv(text, 'f').assignments).toEqual([
      { name: 'A', value: '1', line: 4 },
      { name: 'B', value: 'x\ny', line: 5 },
      { name: 'C', value: 'c d', line: 7 },
      { name: 'D', value: '4', line: 9 },
    ])
  })

  test('reports every line it cannot read and goes on', () => {
    const { assignments, problems } = parseEnv('WORKERS\nexport A=1\n2B=3\nOK=1\nC="open\n', 'machine.env')
    expect(assignments).toEqual([{ name: 'OK', value: '1', line: 4 }])
    expect(problems.map(({ code, line, message }) => [code, line, message])).toEqual([
      ['CM0302', 1, 'WORKERS has no ='],
      ['CM0302', 2, '"export A" is not the name of a variable'],
      ['CM0302', 3, '"2B" is not the name of a variable'],
      ['CM0302', 5, 'C: a quote is never closed'],
    ])
    expect(problems[1]?.hint).toContain('without export')
  })

  test('warns of a comment that is none', () => {
    expect(parseEnv('A=1 # one\nB="2 # two"\n', 'f').warnings.map(({ line }) => line)).toEqual([1])
  })
})
