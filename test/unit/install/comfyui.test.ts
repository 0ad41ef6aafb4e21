import { describe, expect, it } from 'vitest'
import type { Git, Python } from '../../../src/host/install-ports.ts'
import { installComfyUI } from '../../../src/install/comfyui.ts'
import { childrenOf, type MemoryContext, memoryContext } from './context.ts'

const COMMIT = 'c'.repeat(40)

function toolsOf({ texts, pass }: MemoryContext, detail?: string) {
  const git: Git = {
    listRemote: async () => [{ ref: 'refs/tags/v1.2.3', id: COMMIT }],
    readFile: async () => '',
    async fetch() {
      await pass(1_000)
      return { commit: COMMIT, mirror: 'fetched' }
    },
    async checkout(_url, _commit, directory) {
      texts.set(`${directory}/requirements.txt`, '')
      texts.set(`${directory}/main.py`, '')
    },
  }
  const python: Python = {
    installer: 'pip',
    interpreter: async () => '/usr/bin/python3.13',
    async createEnvironment(directory) {
      texts.set(`${directory}/bin/python`, '')
    },
    installRequirements: async () => (detail === undefined ? { ok: true } : { ok: false, detail }),
    scriptEnvironment: () => ({}),
  }
  return async () => ({ git, python, trees: { copyMissing: async () => undefined, listFiles: async () => [] } })
}

describe('installComfyUI', () => {
  it('has a child per stage', async () => {
    const context = memoryContext({}, {}, 14)
    await installComfyUI(context, toolsOf(context))
    const children = childrenOf(context)
    expect([...children.keys()]).toEqual(['fetch', 'checkout', 'venv', 'packages'])
    expect(children.get('fetch')?.attributes).toEqual({
      'git.url': 'https://git.example/comfyui.git',
      'git.commit': COMMIT,
      'git.ref': 'v1.2.3',
      'git.mirror': 'fetched',
    })
    expect((children.get('fetch')?.endUs ?? 0) - (children.get('fetch')?.startUs ?? 0)).toBe(1_000_000)
    expect(children.get('packages')).toMatchObject({ state: 'done', attributes: { 'python.installer': 'pip' } })
  })

  it('calls fetched what it had to fetch to resolve it', async () => {
    const context = memoryContext({}, {}, 14)
    const tools = await toolsOf(context)()
    const mirrors: ('reused' | 'fetched')[] = ['fetched', 'reused']
    const fetch = async () => ({ commit: COMMIT, mirror: mirrors.shift() ?? 'reused' })
    await installComfyUI(context, async () => ({ ...tools, git: { ...tools.git, listRemote: async () => [], fetch } }))
    expect(childrenOf(context).get('fetch')?.attributes).toMatchObject({ 'git.ref': 'HEAD', 'git.mirror': 'fetched' })
  })

  it('tells at which stage it is', async () => {
    const context = memoryContext({}, {}, 14)
    await installComfyUI(context, toolsOf(context))
    const at = context.told.indexOf('making the Python environment')
    expect(context.told[at - 1]).toEqual({ done: 2, total: 4, current: ['venv'] })
  })

  it('ends with the stage that failed', async () => {
    const context = memoryContext({}, {}, 14)
    await expect(installComfyUI(context, toolsOf(context, 'a conflict'))).rejects.toMatchObject({ code: 'CM1403' })
    expect(childrenOf(context).get('packages')).toMatchObject({ state: 'failed', failure: { code: 'CM1403' } })
  })
})
