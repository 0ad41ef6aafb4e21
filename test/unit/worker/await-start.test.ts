import { describe, expect, it, test } from 'vitest'
import { awaitStart, ComfyUIEnded, isRunning, parseCpuMs, type StartPorts } from '../../../src/worker/await-start.ts'
import { toEvidence } from '../../../src/worker/evidence.ts'
import { fakeClock } from './fakes.ts'

function ports(overrides: Partial<StartPorts>): StartPorts & { readonly clock: ReturnType<typeof fakeClock> } {
  return {
    comfyui: { systemStats: () => Promise.reject(new Error('connect ECONNREFUSED')) },
    cpuMs: async () => 0,
    isAlive: async () => true,
    onWaiting: () => undefined,
    stop: new AbortController().signal,
    ...overrides,
    clock: fakeClock(),
  }
}

describe('the wait for ComfyUI', () => {
  it('ends with its first answer', async () => {
    let calls = 0
    const systemStats = async () => {
      calls += 1
      if (calls < 5) throw new Error('connect ECONNREFUSED')
      return { system: {} }
    }
    expect(await awaitStart(ports({ comfyui: { systemStats } }), 60_000)).toEqual({ system: {} })
  })

  it('fails after the limit without a sign of life', async () => {
    const waiting = ports({})
    const startUs = waiting.clock.nowUs()
    await expect(awaitStart(waiting, 10_000)).rejects.toMatchObject({ code: 'CM1901' })
    const seconds = (waiting.clock.nowUs() - startUs) / 1e6
    expect(seconds).toBeGreaterThanOrEqual(10)
    expect(seconds).toBeLessThan(11)
  })

  it('goes on while ComfyUI works, but not for ever', async () => {
    let usedMs = 0
    let told = 0
    const waiting = ports({
      cpuMs: async () => {
        usedMs += 500
        return usedMs
      },
      onWaiting: () => {
        told += 1
      },
    })
    const startUs = waiting.clock.nowUs()
    await expect(awaitStart(waiting, 10_000)).rejects.toMatchObject({ code: 'CM1901' })
    expect((waiting.clock.nowUs() - startUs) / 1e6).toBeGreaterThanOrEqual(40)
    expect(told).toBeGreaterThan(20)
  })

  it('ends quietly when it is told to stop', async () => {
    expect(await awaitStart(ports({ stop: AbortSignal.abort() }), 10_000)).toBeUndefined()
  })
})

describe('evidence', () => {
  it('reads the CPU time of a process whose name has a parenthesis', () => {
    const stat = '42 (python) 3.12) S 1 42 42 0 -1 4194560 100 0 0 0 150 30 5 2 20 0 9 0 1000 0'
    expect(parseCpuMs(stat)).toBe(1870)
  })

  it('keeps what system_stats tells and nothing it does not', () => {
    const stats = {
      system: { comfyui_version: '0.3.75', python_version: '3.12.3 (main, x) [GCC]', pytorch_version: '2.9.0+cu128' },
      devices: [{ name: 'cuda:0 NVIDIA', type: 'cuda', vram_total: 100 }],
    }
    expect(toEvidence(stats, 'http://127.0.0.1:8188')).toEqual({
      'comfyui.url': 'http://127.0.0.1:8188',
      'comfyui.version': '0.3.75',
      'python.version': '3.12.3',
      'pytorch.version': '2.9.0+cu128',
      'device.name': 'cuda:0 NVIDIA',
      'device.type': 'cuda',
      'device.vram_bytes': 100,
    })
    expect(toEvidence({}, 'u')).toEqual({ 'comfyui.url': 'u' })
  })
})

test('a ComfyUI that has ended is not waited for', async () => {
  const ended = ports({
    comfyui: { systemStats: () => Promise.reject(new Error('refused')) },
    isAlive: async () => false,
  })
  await expect(awaitStart(ended, 60_000)).rejects.toBeInstanceOf(ComfyUIEnded)
})

test.each([
  [undefined, false],
  ['12 (python (x)) S 1 2', true],
  ['12 (python) Z 1 2', false],
])('a process of %j runs: %j', (stat, runs) => {
  expect(isRunning(stat)).toBe(runs)
})
