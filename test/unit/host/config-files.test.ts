import { describe, expect, test } from 'vitest'
import { readConfigSources, readMappingSource } from '../../../src/host/config-files.ts'
import type { FileStat, Files } from '../../../src/host/ports.ts'

type Content = Readonly<Record<string, string | Error>>
const stat: FileStat = { kind: 'file', bytes: 1, mode: 0o100640, uid: 7, mtimeMs: 0 }

/** The three calls that reading a configuration makes, over plain texts. */
function filesOf(content: Content): Files {
  const some: Pick<Files, 'readText' | 'stat' | 'list'> = {
    readText: async (path) => {
      const text = content[path]
      if (text instanceof Error) throw text
      return text
    },
    stat: async (path) => (content[path] === undefined ? undefined : stat),
    list: async (path) =>
      Object.keys(content)
        .filter((name) => name.startsWith(`${path}/`))
        .map((name) => name.slice(path.length + 1)),
  }
  return some as Files
}

describe('readConfigSources', () => {
  test('gives every source in the order of rising precedence', async () => {
    const { sources, problems } = await readConfigSources(
      filesOf({
        '/etc/comfy-machine/machine.env': 'A=1',
        '/etc/comfy-machine/secrets.env': 'B=2',
        '/old/.env.local-dev': 'C=3',
        '/old/.env.secret.local-dev': 'D=4',
        '/cred/comfy-machine.HF_TOKEN': 'token\n',
        '/cred/comfy-machine.secrets': 'E=5',
        '/cred/other': 'x',
      }),
      ['/old/.env.local-dev', '/old/.env.secret.local-dev'],
      { CREDENTIALS_DIRECTORY: '/cred', PATH: '/bin', GPU_MODE: 'mock', OTEL_SERVICE_NAME: 's' },
    )
    expect(problems).toEqual([])
    expect(sources).toEqual([
      { kind: 'environment', name: 'environment', values: { GPU_MODE: 'mock', OTEL_SERVICE_NAME: 's' } },
      { kind: 'machine', name: '/etc/comfy-machine/machine.env', text: 'A=1' },
      { kind: 'secrets', name: '/etc/comfy-machine/secrets.env', text: 'B=2', mode: 0o640, uid: 7 },
      { kind: 'machine', name: '/old/.env.local-dev', text: 'C=3' },
      { kind: 'secrets', name: '/old/.env.secret.local-dev', text: 'D=4' },
      { kind: 'credential', name: 'credential comfy-machine.HF_TOKEN', values: { HF_TOKEN: 'token' } },
      { kind: 'secrets', name: 'credential comfy-machine.secrets', text: 'E=5' },
    ])
  })

  test('a file that is asked for must exist, one that exists must be readable', async () => {
    const files = filesOf({ '/etc/comfy-machine/machine.env': new Error('EACCES: permission denied') })
    const { problems } = await readConfigSources(files, ['/gone.env'], {})
    expect(problems.map(({ code, file, message }) => [code, file, message])).toEqual([
      ['CM0304', '/etc/comfy-machine/machine.env', 'EACCES: permission denied'],
      ['CM0304', '/gone.env', 'the file does not exist'],
    ])
  })
})

test('a mapping that cannot be read has a reason', async () => {
  const file = '/etc/comfy-machine/service-mapping.json'
  expect(await readMappingSource(filesOf({ [file]: '{}' }))).toMatchObject({ file, text: '{}' })
  expect(await readMappingSource(filesOf({}))).toEqual({ file, text: null, reason: 'the file does not exist' })
  expect(await readMappingSource(filesOf({ [file]: new Error('EIO') }))).toEqual({ file, text: null, reason: 'EIO' })
})
