import { describe, expect, test } from 'vitest'
import { loadConfig, type MachineConfig } from '../../../src/config/load-config.ts'
import type { ResolvedMapping } from '../../../src/config/resolve-mapping.ts'
import type { ChosenGpu } from '../../../src/detect/choose-gpus.ts'
import type { MachinePlan } from '../../../src/plan/plan.ts'
import { planMachine } from '../../../src/plan/plan-machine.ts'

const mock: ChosenGpu = { uuid: null, pciBusId: null, minor: null, numaNode: null, model: 'mock', memoryMiB: 0 }
const identity = { version: '1.2.3', traceId: 'f'.repeat(32) }
const type = (name: string, count: number | 'auto'): ResolvedMapping['workers'][number] => ({
  type: name,
  count,
  services: ['comfyui'],
  queues: [name],
})
const mapping: ResolvedMapping = {
  workers: [type('comfyui', 'auto')],
  comfyui: { repoUrl: null, ref: null, basePort: 8188, portIncrement: 1 },
}

function configOf(extra = ''): MachineConfig {
  const text = `MACHINE_ID=m1\nWORKERS=comfyui:auto\nEMPROPS_API_URL=http://a.test\nHUB_REDIS_URL=redis://:pw@h.test\n${extra}`
  const { config } = loadConfig([{ kind: 'machine', name: 'machine.env', text }], { machineId: null })
  if (config === undefined) throw new Error('the test configuration has problems')
  return config
}

const plan = (extra = '', mapped = mapping, gpus: readonly ChosenGpu[] = [mock, mock]): MachinePlan =>
  planMachine(configOf(extra), mapped, { gpus, torch: { backend: 'cu128', reason: '' } }, identity)

describe('planMachine', () => {
  test('takes over where models come from', () => {
    expect(plan('MODEL_SOURCES=https://mirror.test\nMODEL_RATE_LIMIT=200M\n').models).toEqual({
      sources: ['https://mirror.test'],
      connections: 16,
      connectionsPerHost: 16,
      rateLimit: 200_000_000,
      sharePort: null,
    })
  })

  test('an instance and a worker for each GPU', () => {
    expect(plan("COMFY_ARGS=--preview-method 'none'\n").instances).toEqual([
      {
        gpu: 'gpu0',
        unit: 'comfyui@gpu0.service',
        listen: '127.0.0.1',
        port: 8188,
        args: ['--preview-method', 'none'],
      },
      {
        gpu: 'gpu1',
        unit: 'comfyui@gpu1.service',
        listen: '127.0.0.1',
        port: 8189,
        args: ['--preview-method', 'none'],
      },
    ])
    expect(plan().workers[1]).toEqual({
      id: 'm1-worker-comfyui-1',
      unit: 'redis-worker@gpu1.service',
      gpu: 'gpu1',
      type: 'comfyui',
      services: ['comfyui'],
      queues: ['comfyui'],
      comfyuiUrl: 'http://127.0.0.1:8189',
    })
    expect(plan().gpus.map(({ name, index }) => [name, index])).toEqual([
      ['gpu0', 0],
      ['gpu1', 1],
    ])
  })

  test('is document 1 of this start and holds no secret', () => {
    const made = plan('MODELS_PATH=/data/models/\nEMPROPS_API_KEY=hidden\nNODE_X=1\n')
    expect(made).toMatchObject({ schema: 1, version: '1.2.3', machineId: 'm1', traceId: identity.traceId })
    expect(made.paths).toEqual({
      workspace: '/var/lib/comfy-machine',
      models: '/data/models',
      cache: '/var/cache/comfy-machine',
      run: '/run/comfy-machine',
    })
    expect(made.python).toEqual({ installer: 'uv', torchBackend: 'cu128' })
    expect(made.secretNames).toEqual(['EMPROPS_API_KEY', 'HUB_REDIS_URL'])
    expect(made.environment).toMatchObject({ NODE_X: '1' })
    expect(JSON.stringify(made)).not.toMatch(/hidden|:pw@/)
  })

  test('machine.env counts more than the mapping, the mapping more than upstream', () => {
    const mapped = {
      ...mapping,
      comfyui: { repoUrl: 'https://m.test/c.git', ref: 'dev', basePort: 7000, portIncrement: 10 },
    }
    expect(plan().comfyui).toEqual({
      repoUrl: 'https://github.com/comfyanonymous/ComfyUI.git',
      ref: null,
      startTimeoutS: 600,
    })
    expect(plan('', mapped)).toMatchObject({
      comfyui: { repoUrl: 'https://m.test/c.git', ref: 'dev' },
      instances: [{ port: 7000 }, { port: 7010 }],
    })
    expect(
      plan('COMFYUI_REPO_URL=https://e.test/c.git\nCOMFYUI_REF=v1\nCOMFYUI_BASE_PORT=6000\n', mapped),
    ).toMatchObject({
      comfyui: { repoUrl: 'https://e.test/c.git', ref: 'v1' },
      instances: [{ port: 6000 }, { port: 6010 }],
    })
  })

  test('types take the GPUs in turn, auto what is left', () => {
    const mapped = { ...mapping, workers: [type('a', 'auto'), type('b', 1)] }
    expect(plan('', mapped, [mock, mock, mock]).workers.map((worker) => worker.type)).toEqual(['a', 'a', 'b'])
  })

  test.each([
    ['0.0.0.0', 'http://127.0.0.1:8188'],
    ['::', 'http://[::1]:8188'],
    ['10.0.0.7', 'http://10.0.0.7:8188'],
  ])('the worker reaches a ComfyUI that listens on %s', (listen, url) => {
    expect(plan(`COMFYUI_LISTEN=${listen}\n`).workers[0]?.comfyuiUrl).toBe(url)
  })

  test('ports that cannot be are refused', () => {
    expect(() => plan('COMFYUI_BASE_PORT=65535\n')).toThrow(/above 65535/)
    expect(() => plan('COMFYUI_BASE_PORT=9089\n')).toThrow(/port 9090/)
    expect(() => plan('MODEL_SHARE_PORT=8189\n')).toThrow('gpu1 and the models for other machines would both listen')
  })
})
