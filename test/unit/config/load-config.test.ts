import { describe, expect, test } from 'vitest'
import type { ConfigSource } from '../../../src/config/collect.ts'
import { type LoadedConfig, loadConfig } from '../../../src/config/load-config.ts'

const MINIMAL = 'WORKERS=comfyui:auto\nEMPROPS_API_URL=http://api.test/v1/\nHUB_REDIS_URL=redis://hub.test:6379\n'
const machine = (text: string): ConfigSource => ({ kind: 'machine', name: 'machine.env', text })
const secrets = (text: string, mode = 0o600, uid = 0): ConfigSource => ({
  kind: 'secrets',
  name: 'secrets.env',
  text,
  mode,
  uid,
})
const load = (...sources: readonly ConfigSource[]): LoadedConfig => loadConfig(sources, { machineId: 'abc123' })
const codes = (loaded: LoadedConfig): readonly (string | null)[][] =>
  loaded.problems.map(({ code, variable }) => [code, variable])

describe('loadConfig', () => {
  test('gives every default', () => {
    const { config, problems, warnings } = load(machine(MINIMAL))
    expect([problems, warnings]).toEqual([[], []])
    expect(config).toMatchObject({
      machineId: 'abc123',
      workers: [{ type: 'comfyui', count: 'auto' }],
      gpuMode: 'actual',
      mockGpuCount: 1,
      apiUrl: 'http://api.test/v1',
      workflows: [],
      collections: [],
      staleOk: false,
      allowInsecureSources: false,
      comfyui: { repoUrl: null, ref: null, basePort: null, listen: '127.0.0.1', args: [], startTimeoutS: 600 },
      healthPort: 9090,
      workspace: '/var/lib/comfy-machine',
      models: '/var/lib/comfy-machine/models',
      modelDownloads: { sources: [], connections: 16, connectionsPerHost: 16, rateLimit: null, sharePort: null },
    })
  })

  test('reports everything that is missing at once', () => {
    expect(codes(load(machine('')))).toEqual([
      ['CM0301', 'WORKERS'],
      ['CM0301', 'EMPROPS_API_URL'],
      ['CM0301', 'HUB_REDIS_URL'],
    ])
  })

  test('needs no component API where a lock takes its place', () => {
    const text =
      'WORKERS=comfyui:auto\nMACHINE_LOCK=/etc/comfy-machine/machine.lock.json\nHUB_REDIS_URL=redis://hub.test\n'
    const { config, problems } = load(machine(text))
    expect(problems).toEqual([])
    expect(config).toMatchObject({ apiUrl: null, lockFile: '/etc/comfy-machine/machine.lock.json' })
  })

  test.each([
    'MACHINE_HEALTH_PORT=70000',
    'COMFYUI_BASE_PORT=0',
    'COMFYUI_BASE_PORT=8188x',
    'GPU_MODE=maybe',
    'MOCK_GPU_NUM=0',
    'MACHINE_ID=-x',
    'MACHINE_ID=a/b',
    'WORKSPACE_PATH=relative',
    'MODELS_PATH=/a/../b',
    'WORKSPACE_PATH=/',
    'EMPROPS_API_URL=api.test',
    'HUB_REDIS_URL=http://hub.test',
    'COMFYUI_REPO_URL=ext::sh',
    'COMFYUI_START_TIMEOUT=ten',
    'COMPONENTS_STALE_OK=perhaps',
    'COMFYUI_LISTEN=not an address',
    'COMFY_ARGS="--cuda-device 0"',
    'COMFY_ARGS=--port=1',
    'COMFY_ARGS="--output-dir /x"',
    `COMFY_ARGS="--x 'y"`,
    'WORKERS=comfyui:zero',
    'OTEL_EXPORTER_OTLP_ENDPOINT=otel:4317',
    'MODEL_SOURCES=mirror.test/store',
    'MODEL_SOURCES=https://mirror.test,ftp://peer.test',
    'MODEL_SOURCES=https://user@mirror.test',
    'MODEL_SOURCES=https://mirror.test/?key=1',
    'MODEL_SHARE_PORT=0',
    'MODEL_SHARE_PORT=models',
    'MODEL_CONNECTIONS=0',
    'MODEL_CONNECTIONS_PER_HOST=many',
    'MODEL_RATE_LIMIT=fast',
    'MODEL_RATE_LIMIT=0',
  ])('refuses %s with its line', (line) => {
    const loaded = load(machine(`${MINIMAL}${line}\n`))
    expect(loaded.config).toBeUndefined()
    expect(loaded.problems).toMatchObject([
      { code: 'CM0302', file: 'machine.env', line: 4, variable: line.split('=')[0] },
    ])
  })

  test('refuses one port for two that listen', () => {
    expect(codes(load(machine(`${MINIMAL}MACHINE_HEALTH_PORT=8188`)))).toEqual([['CM0302', 'COMFYUI_BASE_PORT']])
    const shared = load(machine(`${MINIMAL}MODEL_SHARE_PORT=9090`))
    expect(codes(shared)).toEqual([['CM0302', 'MACHINE_HEALTH_PORT']])
    expect(shared.problems[0]?.message).toBe('MACHINE_HEALTH_PORT and MODEL_SHARE_PORT are both 9090')
    const all = load(machine(`${MINIMAL}MODEL_SHARE_PORT=7000\nMACHINE_HEALTH_PORT=7000\nCOMFYUI_BASE_PORT=7000`))
    expect(codes(all)).toHaveLength(3)
  })

  test('later sources count more; an empty value unsets', () => {
    const { config } = load(
      { kind: 'environment', name: 'environment', values: { GPU_MODE: 'mock', MACHINE_ID: 'env', SHELL: '/bin/sh' } },
      machine(`${MINIMAL}MACHINE_ID=file\nMOCK_GPU_NUM=3\nCOMFY_ARGS=--lowvram\n`),
      secrets('HUB_REDIS_URL=rediss://:pw@hub.test\n'),
      { kind: 'credential', name: 'credential x', values: { HUB_REDIS_URL: 'rediss://:pw2@hub.test', COMFY_ARGS: '' } },
    )
    expect(config).toMatchObject({ machineId: 'file', gpuMode: 'mock', mockGpuCount: 3, comfyui: { args: [] } })
    expect(config?.secrets.get('HUB_REDIS_URL')).toBe('rediss://:pw2@hub.test')
    expect(config?.environment).not.toHaveProperty('SHELL')
  })

  test('reads older names, the name itself counts more', () => {
    const { config, warnings } = load(
      machine(
        'WORKERS=comfyui\nEMP_API_URL=https://old.test\nREDIS_URL=redis://hub.test\nCOMPONENT_IDS=a, b,a\n' +
          'COLLECTION_IDS=none\nCOMFYUI_BRANCH=main\nCOMFYUI_COMMIT=abc\n',
      ),
    )
    expect(config).toMatchObject({ apiUrl: 'https://old.test', workflows: ['a', 'b'], collections: [] })
    expect(config?.comfyui.ref).toBe('abc')
    expect(config?.secrets.get('HUB_REDIS_URL')).toBe('redis://hub.test')
    expect(warnings.map(({ line }) => line)).toEqual([6])
  })

  test('reads where models come from, and what they may take of the network', () => {
    const text =
      'MODEL_SOURCES=https://mirror.test/store/, http://peer.test:8000\nMODEL_SHARE_PORT=9191\n' +
      'MODEL_CONNECTIONS=64\nMODEL_CONNECTIONS_PER_HOST=8\nMODEL_RATE_LIMIT=1.5G\n'
    expect(load(machine(`${MINIMAL}${text}`)).config?.modelDownloads).toEqual({
      sources: ['https://mirror.test/store', 'http://peer.test:8000'],
      connections: 64,
      connectionsPerHost: 8,
      rateLimit: 1_500_000_000,
      sharePort: 9191,
    })
    expect(load(machine(`${MINIMAL}MODEL_RATE_LIMIT=500\n`)).config?.modelDownloads.rateLimit).toBe(500)
  })

  test('keeps secrets out of the public environment wherever they are written', () => {
    const { config, warnings } = load(
      machine(`${MINIMAL}EMPROPS_API_KEY=k1\nOPENAI_API_KEY=k2\nMY_SETTING=open\nX=http://u:pw@proxy.test\n`),
      secrets('CUSTOM=hidden\n'),
    )
    expect(config?.environment).toMatchObject({ MY_SETTING: 'open', WORKERS: 'comfyui:auto' })
    expect(Object.keys(config?.environment ?? {}).sort()).toEqual(['EMPROPS_API_URL', 'MY_SETTING', 'WORKERS', 'X'])
    expect([...(config?.secrets.keys() ?? [])].sort()).toEqual([
      'CUSTOM',
      'EMPROPS_API_KEY',
      'HUB_REDIS_URL',
      'OPENAI_API_KEY',
    ])
    expect(warnings.map(({ variable }) => variable)).toEqual(['EMPROPS_API_KEY', 'OPENAI_API_KEY', 'X'])
  })

  test('a secret stays one when a public file sets it again', () => {
    const { config } = load(machine(MINIMAL), secrets('CUSTOM=hidden\n'), machine('CUSTOM=other\n'))
    expect(config?.secrets.get('CUSTOM')).toBe('other')
    expect(config?.environment).not.toHaveProperty('CUSTOM')
  })

  test.each([
    [0o640, 0],
    [0o644, 0],
    [0o700, 0],
    [0o600, 1000],
  ])('refuses a secrets file of mode %o owned by %i', (mode, uid) => {
    expect(codes(load(machine(MINIMAL), secrets('A=1', mode, uid)))).toEqual([['CM0303', null]])
  })

  test('asks what was meant, once, and passes unknown names through', () => {
    const { config, warnings } = load(machine(`${MINIMAL}COMFYUI_BASE_PROT=1\nNODE_THING=2\nNUM_GPUS=4\nOTEL_X=1\n`))
    expect(warnings.map(({ line, message }) => [line, message])).toEqual([
      [4, 'COMFYUI_BASE_PROT is not known: did you mean COMFYUI_BASE_PORT?'],
      [6, 'NUM_GPUS is not read: the GPUs are counted; limit them with WORKERS'],
    ])
    expect(config?.environment).toMatchObject({ NODE_THING: '2', OTEL_X: '1' })
  })

  test('warns of a variable set twice in one file', () => {
    expect(load(machine(`${MINIMAL}MACHINE_ID=a\nMACHINE_ID=b\n`)).warnings).toMatchObject([
      { line: 5, message: 'MACHINE_ID is set before in line 4; this one counts' },
    ])
  })

  test('refuses a line break in a public value only', () => {
    expect(codes(load(machine(`${MINIMAL}A="x\ny"\n`), secrets('PEM="x\ny"\n')))).toEqual([['CM0302', 'A']])
  })

  test('needs MACHINE_ID where the host has no machine-id', () => {
    expect(codes(loadConfig([machine(MINIMAL)], { machineId: null }))).toEqual([['CM0301', 'MACHINE_ID']])
  })
})
