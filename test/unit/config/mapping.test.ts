import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { expandVariables } from '../../../src/config/expand.ts'
import { loadConfig, type MachineConfig } from '../../../src/config/load-config.ts'
import { loadMapping, type MappingOutcome } from '../../../src/config/load-mapping.ts'
import { parseMapping } from '../../../src/config/mapping.ts'
import { parseJson } from '../../../src/config/parse-json.ts'

const existing = readFileSync(new URL('../../fixtures/existing-machine/service-mapping.json', import.meta.url), 'utf8')
const shipped = readFileSync(new URL('../../../packaging/deb/service-mapping.json', import.meta.url), 'utf8')

function configOf(workers: string, extra = ''): MachineConfig {
  const text = `WORKERS=${workers}\nEMPROPS_API_URL=http://a.test\nHUB_REDIS_URL=redis://h.test\n${extra}`
  const { config } = loadConfig([{ kind: 'machine', name: 'machine.env', text }], { machineId: 'm' })
  if (config === undefined) throw new Error('the test configuration has problems')
  return config
}

const loaded = (text: string, workers: string, extra = ''): MappingOutcome =>
  loadMapping({ file: 'service-mapping.json', text, reason: '' }, configOf(workers, extra))

const custom = (service: object, type: object = {}): string =>
  JSON.stringify({
    workers: {
      comfyui: {
        services: ['comfyui'],
        is_gpu_bound: true,
        job_service_required_map: [{ job_service_required: 'q', worker_service: 'comfyui' }],
        ...type,
      },
    },
    services: { comfyui: { type: 'systemd_service', is_gpu_bound: true, ...service } },
  })

describe('the mapping of the package', () => {
  test('has no problems or warnings and takes the defaults', () => {
    expect(loaded(shipped, 'comfyui:2')).toEqual({
      mapping: {
        workers: [{ type: 'comfyui', count: 2, services: ['comfyui'], queues: ['comfyui'] }],
        comfyui: { repoUrl: null, ref: null, basePort: 8188, portIncrement: 1 },
      },
      problems: [],
      warnings: [],
    })
  })
})

describe('the mapping of the machine this one replaces', () => {
  test('is read, its unknown keys are warnings with their paths', () => {
    const { mapping, problems, warnings } = parseMapping(existing, 'f')
    expect(problems).toEqual([])
    expect(Object.keys(mapping?.workers ?? {})).toContain('emprops-app')
    const messages = warnings.map(({ message }) => message)
    expect(messages).toContain('machine_capabilities is not known')
    expect(messages.filter((message) => message.startsWith('services.comfyui.connector '))).toHaveLength(1)
    expect(messages.find((message) => message.startsWith('workers.ollama.daemon_dependency'))).toBeDefined()
    expect(warnings.length).toBeLessThan(30)
  })

  test('gives ComfyUI its repository, branch and ports', () => {
    expect(loaded(existing, 'comfyui:auto', 'COMFYUI_BASE_PORT=9000\n').mapping?.comfyui).toEqual({
      repoUrl: 'https://github.com/stakeordie/ComfyUI.git',
      ref: 'main',
      basePort: 9000,
      portIncrement: 1,
    })
  })

  test('an unset variable without a default matters only to those who want its service', () => {
    expect(loaded(existing, 'comfyui:auto').problems).toEqual([])
    expect(loaded(existing, 'openai:1').problems.map(({ code }) => code)).toContain('CM0805')
  })

  test('a service that cannot run here is named', () => {
    const { problems } = loaded(existing, 'emprops-app:1')
    expect(problems).toMatchObject([{ code: 'CM0804', file: 'machine.env', line: 1, variable: 'WORKERS' }])
    expect(problems[0]?.message).toContain('a1111')
  })
})

describe('loadMapping', () => {
  test('an unknown type names the known ones and the one that was meant', () => {
    const { problems } = loaded(shipped, 'comfyiu:auto')
    expect(problems).toMatchObject([
      {
        code: 'CM0803',
        file: 'machine.env',
        line: 1,
        message: 'the worker type comfyiu is not known: did you mean comfyui? Known are comfyui',
      },
    ])
  })

  test('a type of Object.prototype is unknown', () => {
    expect(loaded(shipped, 'constructor').problems.map(({ code }) => code)).toEqual(['CM0803'])
  })

  test('wrong types are problems with their paths, all at once', () => {
    const { problems } = loaded(custom({ is_gpu_bound: 'yes', ports: 8188 }, { services: 'comfyui' }), 'comfyui')
    expect(problems.map(({ code, message }) => `${code} ${message.split(':')[0]}`).sort()).toEqual([
      'CM0802 services.comfyui.is_gpu_bound',
      'CM0802 services.comfyui.ports',
      'CM0802 workers.comfyui.services',
    ])
  })

  test('a service that no one describes, an exec, an external type', () => {
    const code = (text: string): readonly string[] => loaded(text, 'comfyui').problems.map((problem) => problem.code)
    expect(code(custom({}, { services: ['comfyui', 'gone'] }))).toEqual(['CM0802'])
    expect(code(custom({ exec: ['/bin/true'] }))).toEqual(['CM0804'])
    expect(code(custom({ type: 'external_api' }))).toEqual(['CM0804'])
    expect(code(custom({}, { job_service_required_map: [] }))).toEqual(['CM0802'])
    expect(code(custom({ port_increment: 0 }))).toEqual(['CM0802'])
    expect(code(custom({ type: 'internal' }))).toEqual([])
  })

  test('required_env may be public or secret, and must be set', () => {
    const text = custom({ required_env: ['MY_KEY'] }, { required_env: ['MY_MODEL'] })
    expect(loaded(text, 'comfyui').problems.map(({ code, variable }) => [code, variable])).toEqual([
      ['CM0805', 'MY_MODEL'],
      ['CM0805', 'MY_KEY'],
    ])
    expect(loaded(text, 'comfyui', 'MY_KEY=1\nMY_MODEL=2\n').problems).toEqual([])
  })

  test('a secret cannot stand in the mapping', () => {
    const text = custom({ installer_config: { repo_url: `https://$\{GIT_TOKEN}@git.test/c.git` } })
    const { problems } = loaded(text, 'comfyui', 'GIT_TOKEN=hidden\n')
    expect(problems).toMatchObject([{ code: 'CM0805', variable: 'GIT_TOKEN' }])
    expect(problems[0]?.message).not.toContain('hidden')
  })

  test('broken JSON has a line and a column, a missing file a reason', () => {
    expect(loaded('{\n  "workers": {},\n}', 'comfyui').problems).toMatchObject([
      { code: 'CM0801', line: 3, message: 'column 1: a comma stands before }, found "}"' },
    ])
    const gone = loadMapping({ file: 'f', text: null, reason: 'the file does not exist' }, undefined)
    expect(gone.problems).toMatchObject([{ code: 'CM0801', message: 'the file does not exist' }])
  })
})

describe('parseJson', () => {
  test.each<[string, number, number]>([
    ['', 1, 1],
    ['{', 1, 2],
    ['{"a": 1 "b": 2}', 1, 9],
    ['{\n  "a" 1}', 2, 7],
    ['[1,\n 2', 2, 3],
    ['{"a": tru}', 1, 7],
    ['{} x', 1, 4],
    ['{\n // note\n}', 2, 2],
    ['{"a": "x\ty"}', 1, 7],
    ["{'a': 1}", 1, 2],
  ])('places the fault of %j', (text, line, column) => {
    expect(parseJson(text)).toMatchObject({ ok: false, line, column })
  })

  test('reads what JSON.parse reads', () => {
    expect(parseJson('{"a":[1,{"b":null}]}')).toEqual({ ok: true, value: { a: [1, { b: null }] } })
  })
})

describe('expandVariables', () => {
  const values = { A: 'a', EMPTY: '', TRICK: `$\{A}` }
  test.each([
    [`$\{A}`, 'a', []],
    [`http://$\{H:-localhost}:$\{P:-1}`, 'http://localhost:1', []],
    [`$\{EMPTY:-d}`, 'd', []],
    [`$\{GONE}x$\{EMPTY}`, 'x', ['GONE', 'EMPTY']],
    [`$\{TRICK}`, `$\{A}`, []],
    [`$\{toString}`, '', ['toString']],
    ['$A $$', '$A $$', []],
  ])('%s', (template, text, missing) => {
    expect(expandVariables(template, values)).toEqual({ text, missing, malformed: false })
  })

  test('says so of what it cannot expand', () => {
    expect(expandVariables(`$\{A:-$\{B}}`, values).malformed).toBe(true)
    expect(expandVariables(`$\{A`, values).malformed).toBe(true)
  })
})
