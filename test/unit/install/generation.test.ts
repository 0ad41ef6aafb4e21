import { describe, expect, it } from 'vitest'
import { chooseObsolete, chooseRef, chooseRelease, generationId, isCommitId } from '../../../src/install/generation.ts'
import { renderModelPaths } from '../../../src/install/model-paths.ts'

const ref = (name: string, id: string) => ({ ref: name, id })

describe('chooseRelease', () => {
  it('takes the highest release by number, without pre-releases, at its commit', () => {
    const refs = [
      ref('refs/tags/v0.3.9', 'a'),
      ref('refs/tags/v0.3.10', 'tag object'),
      ref('refs/tags/v0.3.10^{}', 'b'),
      ref('refs/tags/v0.4.0-rc1', 'c'),
      ref('refs/tags/latest', 'd'),
    ]
    expect(chooseRelease(refs)).toEqual({ resolved: 'v0.3.10', commit: 'b' })
    expect(chooseRelease([ref('refs/tags/latest', 'd')])).toBeUndefined()
  })
})

describe('chooseRef', () => {
  it('takes a tag before a branch, as git does', () => {
    const refs = [ref('refs/heads/x', 'branch'), ref('refs/tags/x', 'tag')]
    expect(chooseRef(refs, 'x')?.commit).toBe('tag')
    expect(chooseRef(refs.slice(0, 1), 'x')?.commit).toBe('branch')
    expect(chooseRef([ref('refs/heads/feature/x', 'other')], 'x')).toBeUndefined()
  })
})

describe('isCommitId', () => {
  it('takes whole and shortened ids only', () => {
    expect(['a1b2c3d', 'a'.repeat(40)].map(isCommitId)).toEqual([true, true])
    expect(['a1b2c3', 'main', 'a'.repeat(41), 'A1B2C3D'].map(isCommitId)).toEqual([false, false, false, false])
  })
})

describe('generationId', () => {
  it('differs when commit or content differ', () => {
    const ids = [
      generationId('a'.repeat(40), '1'.repeat(64)),
      generationId('b'.repeat(40), '1'.repeat(64)),
      generationId('a'.repeat(40), '2'.repeat(64)),
    ]
    expect(ids[0]).toBe('aaaaaaaaaa-11111111')
    expect(new Set(ids).size).toBe(3)
  })
})

describe('chooseObsolete', () => {
  it('drops unfinished generations and the oldest whole ones, never the current', () => {
    const generations = [
      { id: 'current', completeMs: 1 },
      { id: 'old', completeMs: 2 },
      { id: 'older', completeMs: 0 },
      { id: 'new', completeMs: 9 },
      { id: 'half', completeMs: null },
    ]
    expect(chooseObsolete(generations, 'current', 3)).toEqual(['half', 'older'])
    expect(chooseObsolete(generations.slice(0, 2), 'current', 3)).toEqual([])
  })
})

describe('renderModelPaths', () => {
  it('points the usual folders at the models folder', () => {
    const text = renderModelPaths('/data/my models')
    expect(text).toMatch(/^comfy_machine:\n {2}base_path: "\/data\/my models"\n/)
    expect(text).toContain('\n  checkpoints: checkpoints\n')
    expect(text).toContain('\n  diffusion_models: |\n    diffusion_models\n    unet\n')
  })
})
