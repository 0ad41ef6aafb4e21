import { describe, expect, it } from 'vitest'
import { digest } from '../../../src/host/digest.ts'
import { chooseObsolete, generationId, isGenerationId, type LockContent } from '../../../src/install/generation.ts'
import { renderModelPaths } from '../../../src/install/model-paths.ts'
import { commitOf, nodeOf } from './build-context.ts'

const content: LockContent = {
  schema: 1,
  wish: 'w',
  comfyui: { repoUrl: 'https://git.example/comfyui', ref: null, resolved: 'v1', commit: commitOf('c0') },
  python: {
    interpreter: '/usr/bin/python3.13',
    version: '3.13',
    machine: 'x86_64',
    installer: 'uv',
    torchBackend: null,
  },
  nodes: [{ ...nodeOf('a', { env: { A: '1', B: '2' } }), commit: commitOf('a0'), pinned: false }],
  requirements: 'torch==2.9.0\n',
  models: [],
  leftOut: [],
}
const idOf = (changes: Partial<LockContent> = {}): string => generationId({ ...content, ...changes }, digest)

describe('generationId', () => {
  it('is 16 hex digits that any part of the content changes', () => {
    expect(isGenerationId(idOf())).toBe(true)
    const [node] = content.nodes
    const others = [
      idOf({ wish: 'v' }),
      idOf({ comfyui: { ...content.comfyui, commit: commitOf('c1') } }),
      idOf({ python: { ...content.python, version: '3.12' } }),
      idOf({ nodes: [] }),
      idOf({ nodes: node === undefined ? [] : [{ ...node, commit: commitOf('a1') }] }),
      idOf({ requirements: 'torch==2.8.0\n' }),
    ]
    expect(new Set([idOf(), ...others]).size).toBe(others.length + 1)
  })

  it('is the same for other models, for what was left out, and for another order of names in the document', () => {
    const model = { name: 'm', url: null, path: 'm', bytes: 1, estimatedBytes: 1, sha256: null, authEnvVar: null }
    expect(idOf({ models: [{ ...model, sources: [] }], leftOut: [{ name: 'b', code: 'CM1701', message: '' }] })).toBe(
      idOf(),
    )
    const reversed = Object.fromEntries(Object.entries(content).reverse()) as unknown as LockContent
    expect(generationId(reversed, digest)).toBe(idOf())
  })
})

describe('chooseObsolete', () => {
  const whole = [4, 3, 2, 1].map((completeMs) => ({ id: `g${completeMs}`, completeMs }))
  it.each([
    ['keeps the newest', [], ['g2', 'g1']],
    ['keeps what is named, and the newest beside it', ['g1'], ['g3', 'g2']],
    ['keeps all that is named', ['g1', 'g2', 'g3'], ['g4']],
    ['counts nothing that is not there', ['gone'], ['g2', 'g1']],
  ])('%s', (_what, named, obsolete) => {
    expect(chooseObsolete(whole, new Set(named), 2)).toEqual(obsolete)
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
