import { describe, expect, it } from 'vitest'
import {
  safeGitUrl,
  safeModelPath,
  safeModelUrl,
  safeName,
  safeRevision,
  safeVariable,
  withoutUser,
} from '../../../src/install/component-safety.ts'

const refused = expect.objectContaining({ code: 'CM1607' })

describe('safeName', () => {
  it.each(['', '..', '.hidden', '-rf', 'a/b', 'a\\b', 'a\nb', 'a\u0000', 'ä'.repeat(128)])('refuses %j', (name) => {
    expect(() => safeName(name, 'x')).toThrow(refused)
  })
  it.each(['ComfyUI-Manager', 'node_1', 'x'.repeat(255)])('takes %s', (name) => {
    expect(safeName(name, 'x')).toBe(name)
  })
})

describe('safeModelPath', () => {
  it('gives the path below the models folder', () => {
    expect(safeModelPath('models/vae/ae.safetensors', 'ae')).toBe('vae/ae.safetensors')
  })
  it.each([
    'vae/ae.safetensors',
    '/models/ae',
    'models',
    'models/',
    'models/../etc/passwd',
    'models//ae',
    'models/.x',
    'models/vae/',
    'models/a.part',
  ])('refuses %s', (saveTo) => {
    expect(() => safeModelPath(saveTo, 'ae')).toThrow(refused)
  })
})

describe('safeGitUrl', () => {
  it('drops a leading git clone', () => {
    expect(safeGitUrl('git clone https://git.example/a.git', 'a', false)).toBe('https://git.example/a.git')
  })
  it.each(['https://git.example/a', 'ssh://git@git.example/a', 'git@git.example:o/a.git'])('takes %s', (url) => {
    expect(safeGitUrl(url, 'a', false)).toBe(url)
  })
  it.each([
    '--upload-pack=x',
    'ext::sh -c x',
    'ext::x',
    '/srv/a.git',
    'https://git.example/a b',
    'ssh://-oProxyCommand=x/a',
    'git@-x:a',
    'ftp://git.example/a',
    '',
  ])('refuses %j even where insecure sources are allowed', (url) => {
    expect(() => safeGitUrl(url, 'a', true)).toThrow(refused)
  })
  it.each(['http://git.example/a', 'file:///srv/a.git'])('takes %s only where insecure sources are allowed', (url) => {
    expect(() => safeGitUrl(url, 'a', false)).toThrow(refused)
    expect(safeGitUrl(url, 'a', true)).toBe(url)
  })
  it('does not repeat a password', () => {
    expect(() => safeGitUrl('http://me:secret@git.example/a', 'a', false)).toThrow(/"http:\/\/git\.example\/a"/)
  })
})

describe('safeRevision, safeModelUrl, safeVariable', () => {
  it('takes branches and commits, and nothing for none', () => {
    expect(safeRevision('feature/x-1.0', 'a')).toBe('feature/x-1.0')
    expect(safeRevision(' ', 'a')).toBeNull()
    for (const bad of ['-x', 'a..b', 'a b', 'a@{1}', 'a:b', 'a^']) expect(() => safeRevision(bad, 'a')).toThrow(refused)
  })
  it('takes https for models, http only where allowed', () => {
    expect(safeModelUrl('https://m.example/a?x=1', 'a', false)).toBe('https://m.example/a?x=1')
    expect(() => safeModelUrl('http://m.example/a', 'a', false)).toThrow(refused)
    expect(safeModelUrl('http://m.example/a', 'a', true)).toBe('http://m.example/a')
    expect(() => safeModelUrl('file:///etc/shadow', 'a', true)).toThrow(refused)
  })
  it('takes names of variables only', () => {
    expect(safeVariable('HF_TOKEN', 'a')).toBe('HF_TOKEN')
    expect(() => safeVariable('../HF', 'a')).toThrow(refused)
  })
})

it.each([
  ['https://me:secret@git.example/a.git', 'https://git.example/a.git'],
  ['https://me:p@ss@git.example/a.git', 'https://git.example/a.git'],
  ['https://git.example/a@b.git', 'https://git.example/a@b.git'],
  ['git@git.example:a.git', 'git@git.example:a.git'],
])('no user and no password is left of %s', (url, shown) => {
  expect(withoutUser(url)).toBe(shown)
})
