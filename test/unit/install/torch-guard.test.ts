import { describe, expect, it } from 'vitest'
import { distributionOf } from '../../../src/install/python-packages.ts'
import { diffDistributions, isTorchFamily, torchReplaced } from '../../../src/install/torch-guard.ts'

const before = new Map(
  Object.entries({ torch: '2.9.0+cu128', 'nvidia-cublas-cu12': '12.8.4.1', numpy: '2.1.0', gone: '1' }),
)

describe('the guard of torch', () => {
  it('names node, script and versions when a part of torch is another', () => {
    const after = new Map([...before, ['torch', '2.8.0'], ['numpy', '1.26.4']])
    after.delete('nvidia-cublas-cu12')
    after.delete('gone')
    const changes = diffDistributions(before, after)
    expect(changes).toEqual([
      { name: 'gone', before: '1', after: null },
      { name: 'numpy', before: '2.1.0', after: '1.26.4' },
      { name: 'nvidia-cublas-cu12', before: '12.8.4.1', after: null },
      { name: 'torch', before: '2.9.0+cu128', after: '2.8.0' },
    ])
    expect(torchReplaced('node-a', 'install.py', changes)).toMatchObject({
      code: 'CM1708',
      message:
        'custom node node-a: install.py removed nvidia-cublas-cu12 12.8.4.1, replaced torch 2.9.0+cu128 by 2.8.0',
    })
  })
  it('does not mind what is new or no part of it', () => {
    const after = new Map([...before, ['numpy', '1'], ['torchaudio', '2.9.0+cu128'], ['torchsde', '0.2']])
    expect(torchReplaced('n', 'install.py', diffDistributions(before, after))).toBeUndefined()
    expect(diffDistributions(before, new Map(before))).toEqual([])
  })
  it.each([
    ['torchvision', true],
    ['pytorch-triton-rocm', true],
    ['nvidia-cudnn-cu13', true],
    ['nvidia-ml-py', false],
    ['torchsde', false],
  ])('%s: %s', (name, isPart) => {
    expect(isTorchFamily(name)).toBe(isPart)
  })
})

describe('distributionOf', () => {
  it.each([
    ['torch-2.9.0+cu128.dist-info', 'torch', '2.9.0+cu128'],
    ['Flask_SQLAlchemy-3.1.dist-info', 'flask-sqlalchemy', '3.1'],
    ['old-thing-1.2-py3.13.egg-info', 'old-thing', '1.2'],
  ])('%s', (directory, name, version) => {
    expect(distributionOf(directory)).toEqual([[name, version]])
  })
  it('is undefined for anything else', () => {
    expect(['torch', '_virtualenv.py', 'x.pth'].map(distributionOf)).toEqual([undefined, undefined, undefined])
  })
})
