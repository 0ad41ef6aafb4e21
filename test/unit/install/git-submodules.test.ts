import { execFileSync } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { failureLine, gitFailureType, receivedBytes } from '../../../src/install/git-output.ts'
import { joinSubmodules, parseModules, submoduleUrl } from '../../../src/install/git-submodules.ts'

const COMMIT = 'c'.repeat(40)

describe('submodules of a commit', () => {
  test('are the gitlinks that .gitmodules knows', () => {
    const urls = parseModules(
      [
        'submodule.a.b.path\nlib/a/',
        'submodule.a.b.url\nhttps://x/a',
        'submodule.a.b.url\nhttps://x/last',
        'submodule.half.path\nhalf',
        'submodule.file.path\nfile',
        'submodule.file.url\nhttps://x/file',
        '',
      ].join('\0'),
    )
    expect([...urls]).toEqual([
      ['lib/a', 'https://x/last'],
      ['file', 'https://x/file'],
    ])
    const tree = [
      `160000 commit ${COMMIT}\tlib/a`,
      `100644 blob ${COMMIT}\tfile`,
      `160000 commit ${COMMIT}\tunknown`,
      '',
    ].join('\0')
    expect(joinSubmodules(urls, tree)).toEqual([{ path: 'lib/a', url: 'https://x/last', commit: COMMIT }])
  })

  test.each(['../out', 'a/../../out', '.git/modules', 'a/.GIT/hooks', '/etc', 'a//b', './a'])(
    'may not lie at %s',
    (path) => {
      const urls = new Map([[path, 'https://x/a']])
      expect(() => joinSubmodules(urls, `160000 commit ${COMMIT}\t${path}\0`)).toThrow('is no path within')
    },
  )
})

describe('the URL of a submodule', () => {
  test.each([
    ['https://host/group/node', '../vendor', 'https://host/group/vendor'],
    ['https://host/group/node.git/', './vendor.git', 'https://host/group/node.git/vendor.git'],
    ['https://host/group/node', '../../other/vendor/', 'https://host/other/vendor'],
    ['ssh://git@host:22/group/node', '../vendor', 'ssh://git@host:22/group/vendor'],
    ['git@host:group/node.git', '../vendor.git', 'git@host:group/vendor.git'],
    ['git@host:node.git', '../vendor.git', 'git@host:vendor.git'],
    ['file:///srv/node', './../vendor', 'file:///srv/vendor'],
  ])('%s and %s make what git makes of them', (parent, url, expected) => {
    expect(submoduleUrl(parent, { path: 'v', url, commit: COMMIT }, true)).toBe(expected)
    const directory = mkdtempSync(join(tmpdir(), 'git-'))
    const git = (...args: readonly string[]): string =>
      execFileSync('git', ['-C', directory, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
    git('init', '--quiet')
    git('config', 'remote.origin.url', parent)
    writeFileSync(join(directory, '.gitmodules'), `[submodule "v"]\n\tpath = v\n\turl = ${url}\n`)
    git('update-index', '--add', '--cacheinfo', `160000,${COMMIT},v`)
    git('submodule', 'init')
    expect(git('config', 'submodule.v.url')).toBe(expected)
  })
})

describe('words of git', () => {
  test('keep no user and password, even one with an @', () => {
    expect(failureLine("fatal: unable to access 'https://u:p@ss@host/x/'")).toBe(
      "fatal: unable to access 'https://host/x/'",
    )
  })

  test('tell what has arrived', () => {
    expect(receivedBytes('Receiving objects:  12% (1/8), 5.50 GiB | 9.1 MiB/s')).toBe(5.5 * 2 ** 30)
    expect(receivedBytes('Receiving objects: 100% (8/8), 512 bytes | 1 KiB/s, done.')).toBe(512)
    expect(receivedBytes('Receiving objects: 100% (8/8), done.')).toBeUndefined()
    expect(receivedBytes('remote: Compressing objects: 100% (8/8), 1.00 MiB')).toBeUndefined()
  })

  test('name the kind of failure', () => {
    expect(gitFailureType("fatal: repository 'https://x/y/' not found")).toBe('http_error')
    expect(gitFailureType('error: unable to write file a.bin')).toBe('disk_full')
    expect(gitFailureType('error: RPC failed; curl 28 Operation too slow.')).toBe('network_timeout')
  })
})
