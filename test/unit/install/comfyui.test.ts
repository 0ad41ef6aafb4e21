import { describe, expect, it } from 'vitest'
import type { Git } from '../../../src/host/install-ports.ts'
import { installComfyUI } from '../../../src/install/comfyui.ts'
import { chooseRef, chooseRelease, isCommitId } from '../../../src/install/comfyui-source.ts'
import type { MachinePlan } from '../../../src/plan/plan.ts'
import { COMFYUI, commitOf, memoryMachine, nodeOf } from './build-context.ts'
import { childrenOf, type MemoryContext, memoryContext } from './context.ts'

const COMMIT = commitOf('c0')
const SOURCE = '/w/comfyui/source.json'
const asJson = (text: string | undefined): unknown => JSON.parse(text ?? 'null')

function gitOf({ pass }: MemoryContext, asked: string[] = []): Git {
  return {
    async listRemote() {
      asked.push('list')
      return [{ ref: 'refs/tags/v1.2.3', id: COMMIT }]
    },
    readFile: async () => '',
    async fetch(_url, { commit }) {
      asked.push(`fetch ${commit}`)
      await pass(1_000)
      return { commit: commit ?? COMMIT, mirror: 'fetched' }
    },
    checkout: async () => undefined,
  }
}

describe('installComfyUI', () => {
  it('resolves the release once, fetches it and says what it is', async () => {
    const context = memoryContext({}, {}, 14)
    const asked: string[] = []
    const open = async () => ({ git: gitOf(context, asked) })
    await installComfyUI(context, open)
    const fetch = childrenOf(context).get('fetch')
    expect(fetch?.attributes).toEqual({
      'git.url': COMFYUI,
      'git.commit': COMMIT,
      'git.ref': 'v1.2.3',
      'git.mirror': 'fetched',
    })
    expect((fetch?.endUs ?? 0) - (fetch?.startUs ?? 0)).toBe(1_000_000)
    expect(asJson(context.texts.get(SOURCE))).toEqual({
      schema: 1,
      repoUrl: COMFYUI,
      ref: null,
      resolved: 'v1.2.3',
      commit: COMMIT,
    })
    expect(context.texts.get('/w/comfyui/extra_model_paths.yaml')).toContain('/w/models')
    expect(context.lines.at(-1)).toMatchObject({
      attributes: { 'comfyui.commit': COMMIT, 'comfyui.ref': 'v1.2.3', 'comfyui.reused': false },
    })
    await installComfyUI(context, open)
    expect(asked).toEqual(['list', `fetch ${COMMIT}`, `fetch ${COMMIT}`])
  })

  it('calls fetched what it had to fetch to resolve it', async () => {
    const context = memoryContext({}, {}, 14)
    const mirrors: ('reused' | 'fetched')[] = ['fetched', 'reused']
    const fetch = async () => ({ commit: COMMIT, mirror: mirrors.shift() ?? 'reused' })
    await installComfyUI(context, async () => ({ git: { ...gitOf(context), listRemote: async () => [], fetch } }))
    expect(childrenOf(context).get('fetch')?.attributes).toMatchObject({ 'git.ref': 'HEAD', 'git.mirror': 'fetched' })
  })

  it('ends with the stage that failed', async () => {
    const context = memoryContext({}, {}, 14)
    const plan: MachinePlan = { ...context.plan, comfyui: { ...context.plan.comfyui, ref: 'gone' } }
    const pending = installComfyUI({ ...context, plan }, async () => ({ git: gitOf(context) }))
    await expect(pending).rejects.toMatchObject({ code: 'CM1401', message: expect.stringContaining('gone') })
    expect(childrenOf(context).get('fetch')).toMatchObject({ state: 'failed', failure: { code: 'CM1401' } })
    expect(context.texts.has(SOURCE)).toBe(false)
  })

  it('fetches nothing that a generation has, and stays with what the machine is on', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    machine.texts.set(
      SOURCE,
      JSON.stringify({ schema: 1, repoUrl: COMFYUI, ref: null, resolved: 'v9', commit: commitOf('c9') }),
    )
    await installComfyUI(machine, () => Promise.reject(new Error('git is not needed')))
    expect(asJson(machine.texts.get(SOURCE))).toMatchObject({ resolved: 'v1', commit: COMMIT })
  })
})

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
