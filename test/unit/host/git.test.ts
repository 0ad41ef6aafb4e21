import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { systemExec } from '../../../src/host/exec.ts'
import { serveRepositories } from '../../fixtures/git-backend.ts'
import { checkRepository, commit, git, listMirrors, makeRepository, openTestGit, scratch } from './git-fixture.ts'

function makeNode(root = scratch()) {
  const node = makeRepository(root, 'node')
  const first = commit(node, { 'a.py': 'one\n', 'old.py': 'gone later\n' })
  rmSync(join(node, 'old.py'))
  const second = commit(node, { 'a.py': 'two\n', 'nodes/b.py': 'b\n' })
  return { root, node, url: `file://${node}`, first, second, mirrors: join(root, 'mirrors') }
}

describe('a fetch', () => {
  test('of the head, of a branch, of a tag and of a commit brings that commit alone', async () => {
    const { node, url, first, second, mirrors } = makeNode()
    git(node, 'branch', 'stable', first)
    git(node, 'tag', '-a', 'v1', '-m', 'v1', first)
    const port = openTestGit(mirrors)
    expect(await port.fetch(url, {})).toEqual({ commit: second, mirror: 'fetched' })
    expect(await port.fetch(url, { ref: 'main' })).toEqual({ commit: second, mirror: 'fetched' })
    expect((await port.fetch(url, { ref: 'stable' })).commit).toBe(first)
    expect((await port.fetch(url, { ref: 'v1' })).commit).toBe(first)
    expect((await port.fetch(url, { commit: git(node, 'rev-parse', 'v1') })).commit).toBe(first)
    expect(await port.fetch(url, { commit: second })).toEqual({ commit: second, mirror: 'reused' })
    const names = listMirrors(mirrors)
    expect(names).toHaveLength(2)
    for (const name of names) await checkRepository(join(mirrors, name))
  })

  test('of a shortened id looks through the history once', async () => {
    const { url, node, first, second, mirrors } = makeNode()
    const server = await serveRepositories(join(node, '..'))
    const from = `${server.url}/node/.git`
    expect(await openTestGit(mirrors).fetch(from, { commit: first.slice(0, 9) })).toEqual({
      commit: first,
      mirror: 'fetched',
    })
    const asked = server.requests.length
    expect(await openTestGit(mirrors).fetch(from, { commit: first.slice(0, 9) })).toEqual({
      commit: first,
      mirror: 'reused',
    })
    expect(server.requests).toHaveLength(asked)
    server.close()
    expect(url).not.toBe(from)
    expect(second).not.toBe(first)
  })

  test('of a commit that the cache has asks nobody, and one after another asks for what is new', async () => {
    const { root, node, second, mirrors } = makeNode()
    const picture = Uint8Array.from({ length: 300_000 }, (_, at) => (at * at * 31 + (at >> 3) * 7) % 251)
    const third = commit(node, { 'picture.png': picture })
    const server = await serveRepositories(root)
    const url = `${server.url}/node/.git`
    const port = openTestGit(mirrors)
    expect((await port.fetch(url, { commit: third })).mirror).toBe('fetched')
    const asked = server.requests.length
    expect(asked).toBe(2)
    expect((await openTestGit(mirrors).fetch(url, { commit: third })).mirror).toBe('reused')
    expect(server.requests).toHaveLength(asked)
    const fourth = commit(node, { 'a.py': 'four\n' })
    expect((await port.fetch(url, {})).commit).toBe(fourth)
    const packs = readdirSync(
      join(mirrors, listMirrors(mirrors).find((name) => name.includes(fourth)) ?? '', 'objects/pack'),
    )
    expect(packs.filter((name) => name.endsWith('.pack'))).toHaveLength(2)
    server.close()
    await port.checkout(url, fourth, join(root, 'out'), { recursive: false })
    expect(readFileSync(join(root, 'out/picture.png'))).toEqual(Buffer.from(picture))
    await checkRepository(join(root, 'out'))
    await expect(port.fetch(url, { commit: second })).rejects.toMatchObject({ code: 'CM1701' })
  })

  test('wanted twice at a time is made once', async () => {
    const { root, second, mirrors } = makeNode()
    const server = await serveRepositories(root)
    const port = openTestGit(mirrors)
    const url = `${server.url}/node/.git`
    const both = await Promise.all([port.fetch(url, { commit: second }), port.fetch(url, { commit: second })])
    expect(both.map((each) => each.commit)).toEqual([second, second])
    expect(server.requests).toHaveLength(2)
    server.close()
  })

  test('keeps few mirrors of one repository, and none that it works with goes', async () => {
    const { node, url, mirrors } = makeNode()
    const port = openTestGit(mirrors)
    const ids = [0, 1, 2, 3, 4, 5].map((step) => commit(node, { 'a.py': `step ${step}\n` }))
    for (const id of ids) await openTestGit(mirrors).fetch(url, { commit: id })
    expect(listMirrors(mirrors)).toHaveLength(4)
    for (const id of ids) await port.fetch(url, { commit: id })
    expect(listMirrors(mirrors)).toHaveLength(6)
  })
})

describe('a file of a commit', () => {
  test('is read, and one that is not there is undefined', async () => {
    const { url, first, mirrors } = makeNode()
    const port = openTestGit(mirrors)
    await port.fetch(url, { commit: first })
    expect(await port.readFile(url, first, 'a.py')).toBe('one\n')
    expect(await port.readFile(url, first, 'requirements.txt')).toBeUndefined()
    expect(await port.readFile(url, first, 'none/requirements.txt')).toBeUndefined()
  })
})

describe('a checkout', () => {
  test('is whole without cache and network, clean, detached at the commit and good for git', async () => {
    const { root, node, url, second, mirrors } = makeNode()
    const port = openTestGit(mirrors)
    await port.fetch(url, { commit: second })
    rmSync(node, { recursive: true })
    await port.checkout(url, second, join(root, 'out'), { recursive: true })
    rmSync(mirrors, { recursive: true })
    const out = join(root, 'out')
    expect(readFileSync(join(out, 'nodes/b.py'), 'utf8')).toBe('b\n')
    expect(git(out, 'rev-parse', 'HEAD')).toBe(second)
    expect(git(out, 'status', '--porcelain')).toBe('')
    expect(git(out, 'remote', 'get-url', 'origin')).toBe(url)
    await checkRepository(out)
    expect(existsSync(join(out, '.git/objects/info/alternates'))).toBe(false)
  })

  test('shares no file with its mirror', async () => {
    const { root, url, second, mirrors } = makeNode()
    const port = openTestGit(mirrors)
    await port.fetch(url, { commit: second })
    await port.checkout(url, second, join(root, 'out'), { recursive: false })
    const packs = join(root, 'out/.git/objects/pack')
    for (const name of readdirSync(packs)) expect(statSync(join(packs, name)).nlink).toBe(1)
  })

  test('has every byte as the repository has it, whatever attributes and filters say', async () => {
    const root = scratch()
    const node = makeRepository(root, 'node')
    commit(node, { 'dos.py': 'a\r\nb\r\n', 'id.py': '$Id$\n', 'big.bin': 'pointer\n' })
    const attributes = '* text=auto eol=crlf\nid.py ident\nbig.bin filter=lfs\n'
    writeFileSync(join(node, '.gitattributes'), attributes)
    const blob = git(node, 'hash-object', '-w', '--no-filters', '.gitattributes')
    git(node, 'update-index', '--add', '--cacheinfo', `100644,${blob},.gitattributes`)
    git(node, 'commit', '--quiet', '-m', 'attributes')
    const id = git(node, 'rev-parse', 'HEAD')
    const port = openTestGit(join(root, 'mirrors'))
    await port.fetch(`file://${node}`, {})
    await port.checkout(`file://${node}`, id, join(root, 'out'), { recursive: false })
    expect(readFileSync(join(root, 'out/dos.py'), 'utf8')).toBe('a\r\nb\r\n')
    expect(readFileSync(join(root, 'out/id.py'), 'utf8')).toBe('$Id$\n')
    expect(readFileSync(join(root, 'out/.gitattributes'), 'utf8')).toBe(attributes)
    expect(git(join(root, 'out'), 'status', '--porcelain')).toBe('')
  })

  test('in a directory with another commit leaves what is not of the repository', async () => {
    const { root, url, first, second, mirrors } = makeNode()
    const port = openTestGit(mirrors)
    const out = join(root, 'out')
    await port.fetch(url, { commit: first })
    await port.checkout(url, first, out, { recursive: false })
    writeFileSync(join(out, 'a.py'), 'changed by hand\n')
    writeFileSync(join(out, '.env'), 'KEPT=1\n')
    writeFileSync(join(out, '.git/index.lock'), '')
    await port.fetch(url, { commit: second })
    await port.checkout(url, second, out, { recursive: false })
    expect(readFileSync(join(out, 'a.py'), 'utf8')).toBe('two\n')
    expect(readFileSync(join(out, '.env'), 'utf8')).toBe('KEPT=1\n')
    expect(existsSync(join(out, 'old.py'))).toBe(false)
    expect(git(out, 'status', '--porcelain')).toBe('?? .env')
  })

  test('that is not what the commit has is refused', async () => {
    const { root, url, first, second, mirrors } = makeNode()
    const out = join(root, 'out')
    const meddle = (change: () => void) =>
      openTestGit(mirrors, {
        exec: {
          async run(argv, options) {
            const result = await systemExec.run(argv, options)
            if (argv.includes('read-tree')) change()
            return result
          },
        },
      })
    const changed = meddle(() => writeFileSync(join(out, 'a.py'), 'evil\n'))
    await changed.fetch(url, { commit: first })
    await changed.fetch(url, { commit: second })
    await expect(changed.checkout(url, second, out, { recursive: false })).rejects.toMatchObject({
      code: 'CM1710',
      message: expect.stringContaining('a.py'),
    })
    rmSync(out, { recursive: true })
    const elsewhere = openTestGit(mirrors, {
      exec: {
        run(argv, options) {
          if (argv.includes('status')) writeFileSync(join(out, '.git/HEAD'), `${first}\n`)
          return systemExec.run(argv, options)
        },
      },
    })
    await expect(elsewhere.checkout(url, second, out, { recursive: false })).rejects.toMatchObject({
      code: 'CM1710',
      message: expect.stringContaining(`is at ${first}, not at ${second}`),
    })
  })

  test('keeps passwords out of what others can read', async () => {
    const { root, second, mirrors } = makeNode()
    const server = await serveRepositories(root)
    const url = `${server.url.replace('://', '://user:p%40ss@')}/node/.git`
    const port = openTestGit(mirrors)
    await port.fetch(url, { commit: second })
    await port.checkout(url, second, join(root, 'out'), { recursive: false })
    server.close()
    expect(readFileSync(join(root, 'out/.git/config'), 'utf8')).toContain(`url = "${server.url}/node/.git"`)
    for (const gone of [url, url.replace('%40', '@')]) {
      await expect(port.fetch(gone, {})).rejects.toMatchObject({
        message: expect.not.stringMatching(/user|p(%40|@)ss|ss@/),
      })
    }
  })
})

describe('submodules', () => {
  function makeNested() {
    const root = scratch()
    const leaf = makeRepository(root, 'group/leaf')
    const leafCommit = commit(leaf, { 'leaf.py': 'leaf\n' })
    commit(leaf, { 'leaf.py': 'newer\n' })
    const vendor = makeRepository(root, 'group/vendor')
    const vendorCommit = commit(vendor, { 'v.py': 'v\n' }, { leaf: { url: '../../leaf/.git', commit: leafCommit } })
    const node = makeRepository(root, 'node')
    const id = commit(
      node,
      { 'n.py': 'n\n' },
      {
        'lib/vendor': { url: '../../group/vendor/.git', commit: vendorCommit },
      },
    )
    return { root, id, leafCommit, mirrors: join(root, 'mirrors') }
  }

  test('come with the fetch, at the commits that the parents name, and are checked out without network', async () => {
    const { root, id, leafCommit, mirrors } = makeNested()
    const server = await serveRepositories(root)
    const url = `${server.url}/node/.git`
    const port = openTestGit(mirrors)
    expect(await port.fetch(url, { commit: id }, { recursive: true })).toEqual({ commit: id, mirror: 'fetched' })
    const asked = server.requests.length
    expect(await openTestGit(mirrors).fetch(url, { commit: id }, { recursive: true })).toEqual({
      commit: id,
      mirror: 'reused',
    })
    expect(server.requests).toHaveLength(asked)
    server.close()
    const out = join(root, 'out')
    await port.checkout(url, id, out, { recursive: true })
    rmSync(mirrors, { recursive: true })
    const leaf = join(out, 'lib/vendor/leaf')
    expect(readFileSync(join(leaf, 'leaf.py'), 'utf8')).toBe('leaf\n')
    expect(git(leaf, 'rev-parse', 'HEAD')).toBe(leafCommit)
    expect(git(out, 'status', '--porcelain', '--ignore-submodules=none')).toBe('')
    expect(git(out, 'submodule', 'status', '--recursive').replaceAll(/ ?\(.*\)/g, '')).toMatch(
      /^[0-9a-f]{40} lib\/vendor\n ?[0-9a-f]{40} lib\/vendor\/leaf$/,
    )
    for (const place of [out, join(out, 'lib/vendor'), leaf]) await checkRepository(place)
  })

  test('stay away where they are not wanted', async () => {
    const { root, id, mirrors } = makeNested()
    const url = `file://${root}/node/.git`
    const port = openTestGit(mirrors)
    await port.fetch(url, { commit: id })
    await port.checkout(url, id, join(root, 'out'), { recursive: false })
    expect(listMirrors(mirrors)).toHaveLength(1)
    expect(readdirSync(join(root, 'out/lib/vendor'))).toEqual([])
  })
})

describe('a mirror that is broken', () => {
  const damage: Readonly<Record<string, (mirror: string) => void>> = {
    'has an empty HEAD': (mirror) => writeFileSync(join(mirror, 'HEAD'), ''),
    'has a truncated pack': (mirror) => truncateSync(packOf(mirror), statSync(packOf(mirror)).size - 10),
    'has no pack': (mirror) => rmSync(packOf(mirror)),
    'lost the list of its files': (mirror) => rmSync(join(mirror, 'comfy-machine-contents')),
    'lost the end of its history': (mirror) => rmSync(join(mirror, 'shallow')),
    'has zeros at the end of its pack': (mirror) => overwrite(packOf(mirror), -20, 20),
    'has zeros within its pack': (mirror) => overwrite(packOf(mirror), 30, 60),
    'has zeros within its index': (mirror) => overwrite(packOf(mirror).replace('.pack', '.idx'), 1032, 40),
  }
  const packOf = (mirror: string): string => {
    const packs = join(mirror, 'objects/pack')
    return join(packs, readdirSync(packs).find((name) => name.endsWith('.pack')) ?? '')
  }
  const overwrite = (file: string, from: number, length: number): void => {
    const bytes = readFileSync(file)
    const start = from < 0 ? bytes.length + from : from
    chmodSync(file, 0o644)
    writeFileSync(file, bytes.fill(0, start, start + length))
  }

  test.each(Object.entries(damage))('because it %s is made anew', async (_name, harm) => {
    const { root, url, second, mirrors } = makeNode()
    await openTestGit(mirrors).fetch(url, { commit: second })
    const [name = ''] = listMirrors(mirrors)
    harm(join(mirrors, name))
    const port = openTestGit(mirrors)
    await port.fetch(url, { commit: second })
    await port.checkout(url, second, join(root, 'out'), { recursive: false })
    expect(readFileSync(join(root, 'out/a.py'), 'utf8')).toBe('two\n')
    await checkRepository(join(root, 'out'))
    await checkRepository(join(mirrors, name))
  })

  test('does not hold up the fetch of a newer commit', async () => {
    const { node, url, second, mirrors } = makeNode()
    await openTestGit(mirrors).fetch(url, { commit: second })
    overwrite(packOf(join(mirrors, listMirrors(mirrors)[0] ?? '')), 13, 150)
    const third = commit(node, { 'c.py': 'c\n' })
    expect((await openTestGit(mirrors).fetch(url, {})).commit).toBe(third)
    await checkRepository(join(mirrors, listMirrors(mirrors).find((name) => name.includes(third)) ?? ''))
  })
})
