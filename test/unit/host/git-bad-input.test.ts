import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { systemExec } from '../../../src/host/exec.ts'
import { serveRepositories } from '../../fixtures/git-backend.ts'
import { slowDown } from '../../fixtures/slow-proxy.ts'
import { commit, git, listMirrors, makeRepository, openTestGit, scratch } from './git-fixture.ts'

const noise = (bytes: number): Uint8Array => {
  const blocks = Array.from({ length: Math.ceil(bytes / 64) }, (_, at) =>
    createHash('sha512').update(String(at)).digest(),
  )
  return Buffer.concat(blocks).subarray(0, bytes)
}

function makeNode(files: Readonly<Record<string, string | Uint8Array>> = { 'a.py': 'a\n' }) {
  const root = scratch()
  const node = makeRepository(root, 'node')
  const id = commit(node, files)
  return { root, node, id, url: `file://${node}`, mirrors: join(root, 'mirrors') }
}

const portOf = (url: string): number => Number(new URL(url).port)

describe('a repository', () => {
  test('that is empty', async () => {
    const root = scratch()
    const url = `file://${makeRepository(root, 'empty')}`
    await expect(openTestGit(join(root, 'mirrors')).fetch(url, {})).rejects.toMatchObject({
      code: 'CM1702',
      message: `${url} has no HEAD: it is empty, or has no default branch`,
    })
    expect(listMirrors(join(root, 'mirrors'))).toEqual([])
  })

  test('that is gone', async () => {
    const { root, mirrors } = makeNode()
    const server = await serveRepositories(root)
    const url = `${server.url}/gone.git`
    for (const wanted of [{}, { ref: 'main' }, { commit: 'a'.repeat(40) }]) {
      await expect(openTestGit(mirrors).fetch(url, wanted)).rejects.toMatchObject({
        code: 'CM1701',
        type: 'http_error',
        message: expect.stringContaining('not found'),
        hint: expect.stringContaining('renamed, removed or made private'),
      })
    }
    server.close()
    expect(listMirrors(mirrors)).toEqual([])
  })

  test('that does not have the branch or the commit', async () => {
    const { url, mirrors } = makeNode()
    const port = openTestGit(mirrors)
    const absent = 'a'.repeat(40)
    for (const [wanted, what] of [
      [{ ref: 'absent' }, 'branch or tag absent'],
      [{ commit: absent }, `commit ${absent}`],
      [{ commit: 'abcdef1' }, 'commit abcdef1'],
    ] as const) {
      await expect(port.fetch(url, wanted)).rejects.toMatchObject({ code: 'CM1702', message: `${url} has no ${what}` })
    }
    expect(listMirrors(mirrors)).toEqual([])
  })

  test('whose id names no commit', async () => {
    const { node, url, mirrors } = makeNode()
    const tree = git(node, 'rev-parse', 'HEAD^{tree}')
    await expect(openTestGit(mirrors).fetch(url, { commit: tree })).rejects.toMatchObject({ code: 'CM1702' })
    expect(listMirrors(mirrors)).toEqual([])
  })

  test('that sends more than the limit is cut off, and what came is removed', async () => {
    const { root, mirrors } = makeNode({ 'big.bin': noise(12 * 2 ** 20) })
    const server = await serveRepositories(root)
    const slow = await slowDown(portOf(server.url), { after: 3 * 2 ** 20, trickle: 16 * 2 ** 10 })
    const url = `http://127.0.0.1:${slow.port}/node/.git`
    const before = performance.now()
    await expect(openTestGit(mirrors, { maxBytes: 2 ** 20 }).fetch(url, {})).rejects.toMatchObject({
      code: 'CM1709',
      message: expect.stringMatching(/^http:.*: received [23]\.\d MiB, which is over the limit of 1\.0 MiB$/),
    })
    // The rest would take 28 seconds.
    expect(performance.now() - before).toBeLessThan(15_000)
    slow.close()
    server.close()
    expect(listMirrors(mirrors)).toEqual([])
  })

  test('that sends more than the limit at once', async () => {
    const { url, mirrors } = makeNode({ 'big.bin': noise(300_000) })
    await expect(openTestGit(mirrors, { maxBytes: 200_000 }).fetch(url, {})).rejects.toMatchObject({ code: 'CM1709' })
    expect(listMirrors(mirrors)).toEqual([])
    expect((await openTestGit(mirrors, { maxBytes: 400_000 }).fetch(url, {})).mirror).toBe('fetched')
  })

  test.each([
    ['before it answers', 0],
    ['in the middle', 200_000],
  ])('whose server hangs %s', async (_when, after) => {
    const { root, mirrors } = makeNode({ 'big.bin': noise(2 * 2 ** 20) })
    const server = await serveRepositories(root)
    const slow = await slowDown(portOf(server.url), { after, trickle: 0 })
    const url = `http://127.0.0.1:${slow.port}/node/.git`
    await expect(openTestGit(mirrors, { stallSeconds: 1 }).fetch(url, {})).rejects.toMatchObject({
      code: 'CM1701',
      type: 'network_timeout',
    })
    slow.close()
    server.close()
    expect(listMirrors(mirrors)).toEqual([])
  })
})

describe('a URL', () => {
  const { root, mirrors } = makeNode()
  const proof = join(root, 'proof')

  test.each([`ext::sh -c touch% ${proof}`, `-oProxyCommand=touch ${proof}`, `--upload-pack=touch ${proof}`, `fd::17`])(
    'that runs something is refused: %s',
    async (url) => {
      const port = openTestGit(mirrors)
      await expect(port.fetch(url, {})).rejects.toMatchObject({ code: 'CM1607' })
      await expect(port.listRemote(url, ['HEAD'])).rejects.toMatchObject({ code: 'CM1607' })
      expect(existsSync(proof)).toBe(false)
    },
  )

  test('whose host is an option does not reach ssh', async () => {
    const url = `ssh://-oProxyCommand=touch%20${proof}/node.git`
    await expect(openTestGit(mirrors).fetch(url, {})).rejects.toMatchObject({ code: 'CM1701' })
    expect(existsSync(proof)).toBe(false)
  })

  test('that is not secure says how to allow it', async () => {
    await expect(openTestGit(mirrors, { allowInsecure: false }).fetch(`file://${root}/node`, {})).rejects.toMatchObject(
      {
        code: 'CM1701',
        hint: expect.stringContaining('ALLOW_INSECURE_SOURCES=1'),
      },
    )
  })
})

describe('a submodule', () => {
  test.each([
    ['ext::touch%20proof', 'names a remote helper'],
    ['-u./proof', 'starts with -'],
    ['/etc', 'is not a git URL'],
    ['../../../../../../../../..', 'is not a git URL'],
  ])('with the URL %s is refused', async (address, why) => {
    const { root, node, id, url, mirrors } = makeNode()
    const parent = commit(node, {}, { vendor: { url: address, commit: id } })
    await expect(openTestGit(mirrors).fetch(url, { commit: parent }, { recursive: true })).rejects.toMatchObject({
      code: 'CM1607',
      message: expect.stringMatching(new RegExp(`^file://.*, submodule vendor: the URL ".*" ${why}$`)),
    })
    expect(readdirSync(root)).not.toContain('proof')
  })

  test('over http or from a file is refused where sources must be secure', async () => {
    const { node, id, url, mirrors } = makeNode()
    const parent = commit(node, {}, { vendor: { url: 'http://127.0.0.1:1/x.git', commit: id } })
    await openTestGit(mirrors).fetch(url, { commit: parent })
    const strict = openTestGit(mirrors, { allowInsecure: false })
    await expect(strict.fetch(url, { commit: parent }, { recursive: true })).rejects.toMatchObject({
      code: 'CM1607',
      message: expect.stringContaining('is neither https nor ssh'),
    })
  })

  test('that its repository does not have is named with its URL', async () => {
    const { node, url, mirrors } = makeNode()
    const absent = 'b'.repeat(40)
    const parent = commit(node, {}, { vendor: { url: './.git', commit: absent } })
    await expect(openTestGit(mirrors).fetch(url, { commit: parent }, { recursive: true })).rejects.toMatchObject({
      code: 'CM1702',
      message: `${url}/.git has no commit ${absent}`,
    })
  })

  test('behind a link that leads out of the checkout is not written there', async () => {
    const { root, node, id, url, mirrors } = makeNode()
    const outside = join(root, 'outside')
    mkdirSync(join(outside, 'b'), { recursive: true })
    const parent = commit(node, {}, { 'a/b': { url: './.git', commit: id } })
    const out = join(root, 'out')
    const port = openTestGit(mirrors, {
      exec: {
        async run(argv, options) {
          const result = await systemExec.run(argv, options)
          if (argv.includes('status') && !existsSync(join(outside, 'done'))) {
            rmSync(join(out, 'a'), { recursive: true })
            symlinkSync(outside, join(out, 'a'))
            writeFileSync(join(outside, 'done'), '')
          }
          return result
        },
      },
    })
    await port.fetch(url, { commit: parent }, { recursive: true })
    await expect(port.checkout(url, parent, out, { recursive: true })).rejects.toMatchObject({ code: 'CM1607' })
    expect(readdirSync(join(outside, 'b'))).toEqual([])
  })
})

describe.skipIf(process.getuid?.() !== 0)('a full disk', () => {
  const onSmallDisk = async (run: (disk: string) => Promise<void>): Promise<void> => {
    const disk = scratch()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=400k', 'tmpfs', disk])
    try {
      await run(disk)
    } finally {
      execFileSync('umount', ['--lazy', disk])
    }
  }

  test('under the mirrors', async () => {
    const { url } = makeNode({ 'big.bin': noise(600_000) })
    await onSmallDisk(async (disk) => {
      await expect(openTestGit(disk).fetch(url, {})).rejects.toMatchObject({ code: 'CM0402', type: 'disk_full' })
      expect(listMirrors(disk)).toEqual([])
    })
  })

  test.each([
    ['objects', 600_000],
    ['files', 250_000],
  ])('under the %s of a checkout', async (_what, bytes) => {
    const { url, id, mirrors } = makeNode({ 'big.bin': noise(bytes) })
    const port = openTestGit(mirrors)
    await port.fetch(url, {})
    await onSmallDisk(async (disk) => {
      await expect(port.checkout(url, id, join(disk, 'out'), { recursive: false })).rejects.toMatchObject({
        code: 'CM0402',
        type: 'disk_full',
      })
    })
    expect(listMirrors(mirrors)).toHaveLength(1)
  })
})
