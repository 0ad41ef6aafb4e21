import { describe, expect, test } from 'vitest'
import { chooseTorchBackend, type TorchWish } from '../../../src/detect/torch-backend.ts'

const wish = (torchBackend: string | null, more: Partial<TorchWish> = {}): TorchWish => ({
  gpuMode: 'actual',
  python: { installer: 'uv', torchBackend },
  environment: {},
  secrets: new Map(),
  ...more,
})
const driver = (cudaVersion: string, ...architectures: readonly string[]) => ({ cudaVersion, architectures })

describe('chooseTorchBackend', () => {
  test.each([
    ['13.3', 'cu132'],
    ['13.1', 'cu130'],
    ['13.0', 'cu130'],
    ['12.9', 'cu129'],
    ['12.8', 'cu128'],
    ['12.7', 'cu126'],
    ['12.6', 'cu126'],
    ['12.2', 'cu126'],
    ['11.6', 'cu118'],
    ['10.2', null],
    ['N/A', null],
  ])('a driver of CUDA %s', (cuda, backend) => {
    expect(chooseTorchBackend(wish(null), driver(cuda, 'Ampere')).backend).toBe(backend)
  })

  test.each(['Maxwell', 'Pascal', 'Volta'])('%s gets no build without code for it', (architecture) => {
    const { backend, reason } = chooseTorchBackend(wish(null), driver('13.0', 'Ampere', architecture))
    expect([backend, reason]).toEqual([
      'cu126',
      `the driver runs CUDA 13.0, and no later build has code for ${architecture}`,
    ])
  })

  test('mock mode runs on the CPU', () => {
    expect(chooseTorchBackend(wish('auto', { gpuMode: 'mock' }), null)).toEqual({
      backend: 'cpu',
      reason: 'GPU_MODE=mock',
    })
  })

  test.each([
    ['PIP_INDEX_URL', { environment: { PIP_INDEX_URL: 'https://a.test' } }],
    ['UV_DEFAULT_INDEX', { secrets: new Map([['UV_DEFAULT_INDEX', 'https://a:b@a.test']]) }],
    ['UV_INDEX_URL', { environment: { UV_INDEX_URL: 'https://a.test' } }],
  ])('an index of the operator in %s decides', (name, more) => {
    const { backend, reason } = chooseTorchBackend(wish(null, more), driver('12.8'))
    expect([backend, reason]).toEqual([null, `${name} is set: that package index decides`])
  })

  test('what is written counts more than index, mode and driver', () => {
    const environment = { PIP_INDEX_URL: 'https://a.test' }
    expect(chooseTorchBackend(wish('cu128', { environment, gpuMode: 'mock' }), null).backend).toBe('cu128')
    expect(chooseTorchBackend(wish('none'), driver('12.8')).backend).toBeNull()
    expect(chooseTorchBackend(wish('auto'), driver('12.8')).backend).toBe('cu128')
  })
})
