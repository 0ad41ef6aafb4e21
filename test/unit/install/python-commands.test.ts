import { describe, expect, it } from 'vitest'
import type { ExecResult } from '../../../src/host/ports.ts'
import {
  environmentVariables,
  installPinned,
  type PythonTools,
  resolveTogether,
  seedPip,
} from '../../../src/install/python-commands.ts'
import { readResolution } from '../../../src/install/python-resolution.ts'

const tools = (installer: 'uv' | 'pip', torchBackend: string | null = null): PythonTools => ({
  installer,
  python: '/usr/bin/python3.13',
  uv: '/lib/uv',
  wheels: '/usr/share/python-wheels',
  pip: '/usr/share/python-wheels/pip-25.whl',
  torchBackend,
  mayBuild: true,
})
const none = { indexes: [], isIndexReplaced: false }
const HASHED = 'a==1 \\\n    --hash=sha256:aa\n'
const UNHASHED = 'b @ git+https://a.test/b@0\n'

describe('the commands', () => {
  it('hold torch to its build when resolving and when installing', () => {
    const cuda = tools('uv', 'cu128')
    for (const { argv } of [resolveTogether(cuda, ['/r.txt'], none), installPinned(cuda, '/e', '/l.txt', HASHED)]) {
      expect(argv.join(' ')).toContain(' --torch-backend cu128 ')
    }
    expect(resolveTogether(tools('uv'), ['/r.txt'], none).argv).not.toContain('--torch-backend')
    expect(resolveTogether(tools('pip', 'cpu'), ['/r.txt'], none).argv.join(' ')).toContain(
      '--extra-index-url https://download.pytorch.org/whl/cpu',
    )
  })
  it('install without resolving, with hashes wherever there are some', () => {
    const argv = (installer: 'uv' | 'pip', text: string): readonly string[] =>
      installPinned(tools(installer), '/e', '/l.txt', text).argv
    expect(argv('uv', HASHED)).toEqual(expect.arrayContaining(['--no-deps', '--require-hashes']))
    expect(argv('pip', HASHED)).toEqual(expect.arrayContaining(['--no-deps', '--require-hashes']))
    expect(argv('uv', HASHED + UNHASHED)).toEqual(expect.arrayContaining(['--no-deps', '--verify-hashes']))
    expect(argv('uv', HASHED + UNHASHED)).not.toContain('--require-hashes')
    expect(argv('pip', UNHASHED)).not.toContain('--require-hashes')
  })
  it('keep the index of the operator when a file replaces it', () => {
    const read = { indexes: ['--extra-index-url https://e.test'], isIndexReplaced: true }
    const { argv, defaults } = resolveTogether(tools('uv'), ['/r.txt'], read)
    expect(argv.join(' ')).toContain('--extra-index-url https://e.test --index-strategy unsafe-best-match')
    expect(defaults).toEqual({ UV_DEFAULT_INDEX: 'https://pypi.org/simple' })
    expect(resolveTogether(tools('uv'), ['/r.txt'], none).defaults).toEqual({})
  })
  it('take pip from the host where it has it', () => {
    expect(seedPip(tools('uv'), '/e')[0]?.argv).toContain('/usr/share/python-wheels')
    expect(seedPip({ ...tools('uv'), pip: null }, '/e')[0]?.argv).toContain('ensurepip')
    expect(seedPip(tools('pip'), '/e')).toEqual([])
  })
})

describe('environmentVariables', () => {
  it('leaves torch to the plan, knows one name of the index, and takes nothing of the machine along', () => {
    const variables = { UV_TORCH_BACKEND: 'auto', UV_INDEX_URL: 'https://i.test', MACHINE_ID: 'm', HF_TOKEN: 's' }
    const made = environmentVariables({
      cache: '/c',
      variables,
      environment: { TRACEPARENT: 't' },
      allowInsecure: false,
    })
    expect(made).toMatchObject({ UV_DEFAULT_INDEX: 'https://i.test', UV_CACHE_DIR: '/c/uv', TRACEPARENT: 't' })
    expect(Object.keys(made).filter((name) => /TORCH|UV_INDEX_URL|MACHINE|HF_|HOME/.test(name))).toEqual([])
  })
})

describe('readResolution', () => {
  const end = (result: Partial<ExecResult>) => ({
    code: 0,
    signal: null,
    timedOut: false,
    stdout: '',
    stderr: '',
    ...result,
  })
  const report = (version: string, url: string): string =>
    JSON.stringify(
      { install: [{ download_info: { url }, is_direct: false, metadata: { name: 'torch', version } }] },
      null,
      2,
    )
  const ofPip = (version: string, url: string) =>
    readResolution({
      installer: 'pip',
      torchBackend: 'cu126',
      result: end({ stdout: report(version, url) }),
      indexes: [],
      wanted: [],
    })

  it('refuses a torch of another build, which pip takes when it is newer', () => {
    expect(ofPip('2.9.0+cu126', 'https://a.test/torch.whl').ok).toBe(true)
    expect(ofPip('2.9.0', 'https://download.pytorch.org/whl/cu126/torch.whl').ok).toBe(true)
    expect(ofPip('2.10.0', 'https://files.pythonhosted.org/torch.whl')).toMatchObject({
      ok: false,
      reason: 'failed',
      detail: expect.stringMatching(/^pip chose torch 2\.10\.0, which is not of the build cu126/) as string,
    })
  })
  it('knows the owner by the path in the words', () => {
    const wanted = [{ owner: 'custom node a', path: '/n/a/requirements.txt' }]
    const stderr = "error: Couldn't parse requirement in `/n/a/requirements.txt` at position 0"
    const result = end({ code: 2, stderr })
    expect(readResolution({ installer: 'uv', torchBackend: null, result, indexes: [], wanted })).toMatchObject({
      reason: 'invalid',
      owner: 'custom node a',
    })
    const late = {
      installer: 'uv',
      torchBackend: null,
      result: end({ code: null, timedOut: true }),
      indexes: [],
      wanted,
    } as const
    expect(readResolution(late)).toMatchObject({ reason: 'failed', detail: 'uv ran out of time' })
  })
})
