import { describe, expect, it } from 'vitest'
import { problemSentence, type RequirementReader, readRequirements } from '../../../src/install/requirement-files.ts'

type Entry = string | Uint8Array | { readonly link: string } | 'directory'

function reader(tree: Readonly<Record<string, Entry>>): RequirementReader {
  const bytesOf = (entry: Entry | undefined): Uint8Array | undefined =>
    typeof entry === 'string' ? new TextEncoder().encode(entry) : entry instanceof Uint8Array ? entry : undefined
  return {
    readBytes: async (path, from, length) => bytesOf(tree[path])?.slice(from, from + length),
    readLink: async (path) => {
      const entry = tree[path]
      return typeof entry === 'object' && 'link' in entry ? entry.link : undefined
    },
    lstat: async (path) => {
      const entry = tree[path]
      if (entry === undefined) return undefined
      const kind =
        entry === 'directory' ? 'directory' : typeof entry === 'object' && 'link' in entry ? 'symlink' : 'file'
      return { kind, bytes: bytesOf(entry)?.length ?? 0, mode: 0o644, uid: 0, mtimeMs: 0 }
    },
  }
}
const node = { owner: 'custom node a', path: '/n/a/requirements.txt' }
const read = (tree: Readonly<Record<string, Entry>>, installer: 'uv' | 'pip' = 'uv') =>
  readRequirements(reader(tree), [node], installer)

describe('readRequirements', () => {
  it('follows what a file includes, once, and says where each line stands', async () => {
    const { lines, problems } = await read({
      '/n/a/requirements.txt': 'one\n-r sub/more.txt\n-c sub/limits.txt\n',
      '/n/a/sub/more.txt': '-r ../requirements.txt\ntwo>1\n',
      '/n/a/sub/limits.txt': { link: 'limits-1.txt' },
      '/n/a/sub/limits-1.txt': 'three<3\n',
    })
    expect(problems).toEqual([])
    expect(lines.map(({ owner, file, number, name }) => [owner, file, number, name])).toEqual([
      ['custom node a', 'requirements.txt', 1, 'one'],
      ['custom node a', 'sub/more.txt', 2, 'two'],
      ['custom node a', 'sub/limits.txt', 1, 'three'],
    ])
  })

  it.each<[string, Readonly<Record<string, Entry>>, string]>([
    [
      'a file outside',
      { '/n/a/requirements.txt': '\n-r ../b/r.txt\n', '/n/b/r.txt': 'x' },
      'requirements.txt:2: ../b/r.txt is outside of its directory',
    ],
    [
      'a link outside',
      { '/n/a/requirements.txt': { link: '/etc/shadow' }, '/etc/shadow': 'x' },
      'requirements.txt: is a link to the outside of its directory',
    ],
    ['a file that is not there', { '/n/a/requirements.txt': '-r b.txt\n' }, 'requirements.txt:1: b.txt does not exist'],
    ['a directory', { '/n/a/requirements.txt': 'directory' }, 'requirements.txt: is no file'],
    [
      'bytes',
      { '/n/a/requirements.txt': Uint8Array.from([0x50, 0x4b, 3, 4, 0]) },
      'requirements.txt: is no text in UTF-8',
    ],
    [
      'a large file',
      { '/n/a/requirements.txt': new Uint8Array(2 ** 20 + 1) },
      'requirements.txt: is larger than 1 MiB',
    ],
    [
      'a path',
      { '/n/a/requirements.txt': 'ok\n./x.whl\n' },
      'requirements.txt:2: it names a path, and packages are taken from an index, an address or a repository only',
    ],
  ])('refuses %s', async (_what, tree, sentence) => {
    expect((await read(tree)).problems.map(problemSentence)).toEqual([`custom node a: ${sentence}`])
  })

  it('takes the index of a file for a further one, which pip cannot', async () => {
    const tree = {
      '/n/a/requirements.txt':
        '-i https://i.test\n--extra-index-url https://e.test\n--extra-index-url https://e.test\nx\n',
    }
    const ofUv = await read(tree)
    expect(ofUv.problems).toEqual([])
    expect([ofUv.isIndexReplaced, ofUv.indexes]).toEqual([
      true,
      ['--extra-index-url https://i.test', '--extra-index-url https://e.test'],
    ])
    expect((await read(tree, 'pip')).problems.map(({ number }) => number)).toEqual([1])
  })
})
