import { describe, expect, it } from 'vitest'
import { decodeRequirements, normaliseName, parseRequirements } from '../../../src/install/requirement-lines.ts'

const names = (text: string): readonly unknown[] =>
  parseRequirements(text).map((line) => (line.kind === 'requirement' ? [line.number, line.name, line.text] : line))
const nameOf = (text: string): string | undefined => {
  const [line] = parseRequirements(text)
  return line?.kind === 'requirement' ? line.name : undefined
}
const refusal = (text: string): string | undefined => {
  const [line] = parseRequirements(text)
  return line?.kind === 'refused' ? line.reason : undefined
}

describe('parseRequirements', () => {
  it('counts lines as an editor does, over comments and continuations', () => {
    const text =
      '# numpy\r\n\r\nNumPy<2 # why\r\ntorch \\\r\n  >=2.1\r\nopen_clip.torch[train]==1 --hash=sha256:00 \\\r\n --hash=sha256:01\r\n'
    expect(names(text)).toEqual([
      [3, 'numpy', 'NumPy<2'],
      [4, 'torch', 'torch   >=2.1'],
      [6, 'open-clip-torch', 'open_clip.torch[train]==1'],
    ])
  })
  it('knows the package of an address and of a marker', () => {
    expect(names('clip @ git+https://a.test/clip.git@v1\n')).toEqual([
      [1, 'clip', 'clip @ git+https://a.test/clip.git@v1'],
    ])
    expect(nameOf('git+https://a.test/x.git#egg=My_Pkg')).toBe('my-pkg')
    expect(nameOf('https://a.test/w/sage_attn-2.1+cu128-cp313-none-any.whl')).toBe('sage-attn')
    expect(nameOf('git+https://a.test/x.git')).toBe('')
    expect(names('triton; sys_platform == "linux"')).toEqual([[1, 'triton', 'triton; sys_platform == "linux"']])
  })
  it('knows what includes and what names an index, in every spelling', () => {
    const text =
      '-r a.txt\n-rb.txt\n--requirement=c.txt\n-c d.txt\n--extra-index-url https://i.test\n-f https://f.test\n--pre\n'
    expect(parseRequirements(text)).toEqual([
      { kind: 'include', number: 1, target: 'a.txt' },
      { kind: 'include', number: 2, target: 'b.txt' },
      { kind: 'include', number: 3, target: 'c.txt' },
      { kind: 'include', number: 4, target: 'd.txt' },
      { kind: 'index', number: 5, option: '--extra-index-url', url: 'https://i.test' },
      { kind: 'index', number: 6, option: '--find-links', url: 'https://f.test' },
    ])
  })
  it.each([
    ['-e .', /^-e is not supported/],
    ['-e git+https://a.test/x.git#egg=x', /^-e is not supported/],
    ['.', /names a path/],
    ['./wheels/a-1-py3-none-any.whl', /names a path/],
    ['wheels/a.whl', /names a path/],
    ['a-1.0.tar.gz', /names a path/],
    ['/opt/a', /names a path/],
    ['a @ file:///opt/a', /names a path/],
    ['git+file:///opt/a', /names a path/],
    ['--find-links ./wheels', /wants an address/],
    ['-r https://a.test/r.txt', /of an address/],
    ['--no-index', /would hold for all/],
    ['--no-binary :all:', /would hold for all/],
    ['<!DOCTYPE html>', /“<!DOCTYPE html>” is no requirement/],
  ])('refuses %s and says why', (text, reason) => {
    expect(refusal(text)).toMatch(reason)
  })
})

describe('decodeRequirements', () => {
  const bytes = (...parts: readonly number[]): Uint8Array => Uint8Array.from(parts)
  it('reads UTF-8 and UTF-16, with and without byte order mark, and nothing that is no text', () => {
    expect(decodeRequirements(bytes(0xef, 0xbb, 0xbf, 0x61))).toBe('a')
    expect(decodeRequirements(bytes(0xff, 0xfe, 0x61, 0))).toBe('a')
    expect(decodeRequirements(bytes(0xfe, 0xff, 0, 0x61))).toBe('a')
    expect(decodeRequirements(bytes())).toBe('')
    expect(decodeRequirements(bytes(0x61, 0, 0x62))).toBeUndefined()
    expect(decodeRequirements(bytes(0x80, 0x81))).toBeUndefined()
  })
})

it('names are compared as indexes do', () => {
  expect(normaliseName('Foo__Bar.baz')).toBe('foo-bar-baz')
})
