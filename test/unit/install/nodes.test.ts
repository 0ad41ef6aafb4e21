import { describe, expect, it } from 'vitest'
import type { ReportedWork } from '../../../src/report.ts'
import { spanIdOf } from '../../../src/trace-context.ts'
import { COMFYUI, commitOf, memoryMachine, nodeOf } from './build-context.ts'
import { childrenOf, INVOCATION } from './context.ts'

const SCRIPT = { customScript: 'true' }
const namesOf = (children: readonly ReportedWork[] = []): readonly string[] => children.map(({ name }) => name)

describe('a first build', () => {
  it('makes a whole generation that every pointer names, with ComfyUI and the nodes in it', async () => {
    const machine = memoryMachine([nodeOf('a'), nodeOf('b')])
    expect(await machine.build()).toBeUndefined()
    const [id = '', ...others] = machine.whole()
    expect(others).toEqual([])
    expect(['current', 'gpu0', 'gpu1', 'next'].map(machine.pointer)).toEqual([id, id, id, undefined])
    const lock = machine.lockOf(id)
    expect(lock).toMatchObject({ generation: id, requirements: 'torch==2.9.0\n', leftOut: [] })
    expect(lock.nodes.map(({ name, commit, pinned }) => [name, commit, pinned])).toEqual([
      ['a', commitOf('a0'), false],
      ['b', commitOf('a0'), false],
    ])
    const home = `/w/comfyui/generations/${id}`
    for (const path of ['main.py', 'venv/bin/python', 'custom_nodes/a/__init__.py', 'custom_nodes/b/__init__.py'])
      expect(machine.texts.has(`${home}/${path}`), path).toBe(true)
    expect(machine.texts.get(`${home}/models`)).toBe('/w/models')
    expect([...machine.texts.keys()].filter((path) => /staging|trash|requirements\.lock$/.test(path))).toEqual([])
  })

  it('resolves everything before anything is installed, and runs scripts in the order of installation', async () => {
    const machine = memoryMachine([nodeOf('z', SCRIPT), nodeOf('b'), nodeOf('a', SCRIPT)])
    await machine.build()
    const order = machine.asked.filter((each) => !each.startsWith('fetch'))
    expect(order).toEqual(['open', 'resolve ComfyUI z b a', 'create', 'install', 'script z', 'script a', 'compile'])
  })

  it('has a child per node with clone and install, and children for what is done once', async () => {
    const machine = memoryMachine([nodeOf('a'), nodeOf('b', { env: { X: 'y' }, ...SCRIPT })])
    await machine.build()
    const children = childrenOf(machine)
    expect([...children.keys()].sort()).toEqual(
      ['checkout', 'compile', 'node a', 'node b', 'packages', 'resolve requirements', 'venv'].sort(),
    )
    const [clone, install, ...others] = children.get('node b')?.children ?? []
    expect(others).toEqual([])
    expect(clone).toMatchObject({
      name: 'clone',
      state: 'done',
      attributes: { 'git.url': 'https://git.example/b.git', 'git.commit': commitOf('a0'), 'git.mirror': 'fetched' },
    })
    expect(install).toMatchObject({
      name: 'install',
      attributes: { 'install.env': 1, 'install.scripts': 'custom_script' },
    })
    expect(children.get('node b')).toMatchObject({ startUs: clone?.startUs, endUs: install?.endUs })
    expect(children.get('resolve requirements')).toMatchObject({
      state: 'done',
      attributes: { 'resolve.nodes': 2, 'resolve.installer': 'uv', 'resolve.outcome': 'together' },
    })
    expect(JSON.stringify(machine.lines)).not.toContain('secret')
  })

  it('has the span of the node on every journal line about it, and that of the step on others', async () => {
    const machine = memoryMachine([nodeOf('a', SCRIPT)])
    await machine.build()
    const ofNode = machine.entries.filter(({ fields }) => fields?.['COMFY_NODE'] === 'a')
    expect(ofNode.map(({ message }) => message)).toContain('a: hello')
    const span = spanIdOf(INVOCATION, 'child/node a')
    for (const { fields } of ofNode) expect(fields).toMatchObject({ TRACE_ID: '0'.repeat(32), SPAN_ID: span })
    expect(machine.entries.at(-1)?.fields).toMatchObject({ SPAN_ID: INVOCATION.slice(0, 16) })
    expect(machine.entries.at(-1)?.fields).not.toHaveProperty('COMFY_NODE')
  })

  it('tells how many nodes are fetched and set up, and which it is at', async () => {
    const { told, build } = memoryMachine([nodeOf('a'), nodeOf('b', SCRIPT)])
    await build()
    const texts = told.filter((each) => typeof each === 'string')
    expect(texts).toContain('0/2 custom nodes fetched')
    expect(texts).toContain('resolving the Python packages of 2 custom nodes with uv')
    expect(texts).toContain('0/2 custom nodes set up')
  })

  it('keeps values of secrets from scripts and from the generation, and links the .env of a node', async () => {
    const env = { TOKEN: 'HF_TOKEN', PLACE: 'here' }
    const machine = memoryMachine([nodeOf('a', { env, ...SCRIPT })], {}, { HF_TOKEN: 'hush' })
    await machine.build()
    expect(machine.texts.get('/w/node-env/a.env')).toBe("TOKEN='hush'\nPLACE='here'\n")
    const [id] = machine.whole()
    expect(machine.texts.get(`/w/comfyui/generations/${id}/custom_nodes/a/.env`)).toBe('/w/node-env/a.env')
    const inside = [...machine.texts].filter(([path]) => path.startsWith('/w/comfyui'))
    expect(JSON.stringify(inside)).not.toContain('hush')
  })
})

describe('a wish that was carried out', () => {
  it('builds nothing, and opens neither git nor Python', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const before = [...machine.texts]
    machine.asked.length = 0
    machine.outside.heads.set(nodeOf('a').url, commitOf('a1'))
    expect(await machine.build()).toBeUndefined()
    expect(machine.asked).toEqual([])
    expect([...machine.texts]).toEqual(before)
    expect(childrenOf(machine).get('node a')?.state).toBe('skipped')
  })

  it('writes values that have changed since, and fails where one is gone', async () => {
    const secrets: Record<string, string> = { TOKEN: 'one' }
    const machine = memoryMachine([nodeOf('a', { env: { T: 'TOKEN' } })], {}, secrets)
    await machine.build()
    secrets['TOKEN'] = 'two'
    machine.asked.length = 0
    await machine.build()
    expect(machine.texts.get('/w/node-env/a.env')).toBe("T='two'\n")
    delete secrets['TOKEN']
    expect(await machine.build()).toMatchObject({ code: 'CM1705', message: 'custom node a wants TOKEN' })
    expect(machine.asked).toEqual([])
  })

  it('tells the lock of other models and classes, which need no other generation', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const [id = ''] = machine.whole()
    const model = { name: 'm', url: null, path: 'vae/m', bytes: 1, estimatedBytes: 1, sha256: null }
    machine.wanted.models = [{ ...model, authEnvVar: null, sources: [] }]
    machine.wanted.nodes = [nodeOf('a', { classes: ['A'] })]
    await machine.build()
    expect(machine.whole()).toEqual([id])
    expect(machine.lockOf(id)).toMatchObject({ models: [{ name: 'm' }], nodes: [{ name: 'a', classes: ['A'] }] })
  })

  it('is built anew when something of the generation is gone', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const [id = ''] = machine.whole()
    machine.texts.delete(`/w/comfyui/generations/${id}/venv/bin/python`)
    expect(await machine.build()).toBeUndefined()
    expect(machine.whole()).toEqual([id])
    expect(machine.texts.has(`/w/comfyui/generations/${id}/venv/bin/python`)).toBe(true)
  })
})

describe('another wish', () => {
  it('makes the next generation beside the old one, with the heads that were locked', async () => {
    const machine = memoryMachine([nodeOf('a'), nodeOf('b')])
    await machine.build()
    const [old = ''] = machine.whole()
    const oldFiles = [...machine.texts].filter(([path]) => path.includes(old))
    for (const name of ['a', 'b']) machine.outside.heads.set(nodeOf(name).url, commitOf('a1'))
    machine.wanted.nodes = [nodeOf('a'), nodeOf('b', { commit: commitOf('b7') })]
    await machine.build()
    const id = machine.whole().find((each) => each !== old) ?? ''
    expect([...machine.texts].filter(([path]) => path.includes(old))).toEqual(
      expect.arrayContaining(oldFiles.slice(0, 3)),
    )
    expect(machine.lockOf(id).nodes.map(({ commit, pinned }) => [commit, pinned])).toEqual([
      [commitOf('a0'), false],
      [commitOf('b7'), true],
    ])
    expect(machine.lines.at(-1)).toMatchObject({ attributes: { 'generation.pointers': 'first' } })
  })

  it('does not take a commit that was asked for as the head of a branch', async () => {
    const machine = memoryMachine([nodeOf('a', { commit: commitOf('a7') })])
    await machine.build()
    machine.wanted.nodes = [nodeOf('a')]
    await machine.build()
    expect(machine.lockOf(machine.pointer('current') ?? '').nodes[0]?.commit).toBe(commitOf('a0'))
  })

  it('goes to one GPU first when what is there has proved itself, and keeps two generations', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const [first = ''] = machine.whole()
    const rollout = { schema: 1, proven: [first], previous: null, rejected: {} }
    machine.texts.set('/w/comfyui/rollout.json', JSON.stringify(rollout))
    for (const digit of [1, 2, 3]) {
      machine.wanted.nodes = [nodeOf('a', { commit: commitOf(`a${digit}`) })]
      await machine.build()
      expect(['current', 'gpu1'].map(machine.pointer)).toEqual([first, first])
      expect(machine.pointer('gpu0')).toBe(machine.pointer('next'))
      expect(machine.whole()).toHaveLength(2)
    }
    expect(machine.lockOf(machine.pointer('next') ?? '').nodes[0]?.commit).toBe(commitOf('a3'))
  })
})

describe('a build that fails', () => {
  it('tries every node, names all that failed, and leaves the pointers and nothing else behind', async () => {
    const machine = memoryMachine([nodeOf('a')])
    await machine.build()
    const before = [...machine.texts].filter(([path]) => path.startsWith('/w/comfyui'))
    const gone = ['gone1', 'gone2'].map((name) => nodeOf(name))
    machine.wanted.nodes = [nodeOf('a'), ...gone]
    const error = await machine.build()
    expect(error).toMatchObject({ code: 'CM1701', message: expect.stringMatching(/gone1.*; .*gone2/) })
    expect([...machine.texts].filter(([path]) => path.startsWith('/w/comfyui'))).toEqual(before)
    const child = childrenOf(machine).get('node gone1')
    expect(child?.children).toMatchObject([{ name: 'clone', state: 'failed', failure: { code: 'CM1701' } }])
    expect(child).toMatchObject({ state: 'failed', endUs: child?.children?.[0]?.endUs })
  })

  it('names who contradicts whom', async () => {
    const machine = memoryMachine([nodeOf('a'), nodeOf('bad')])
    machine.outside.files.set(nodeOf('bad').url, { 'requirements.txt': 'torch<2' })
    machine.outside.conflicting.add('bad')
    expect(await machine.build()).toMatchObject({ code: 'CM1706', message: expect.stringContaining('custom node bad') })
    expect(childrenOf(machine).get('resolve requirements')).toMatchObject({
      state: 'failed',
      attributes: { 'resolve.outcome': 'conflict' },
      failure: { code: 'CM1706' },
    })
    expect(machine.asked).not.toContain('create')
    expect(machine.whole()).toEqual([])
  })

  it.each([
    ['exits 3', 3, 'CM1704', /custom node a: custom_script exited 3: hello/],
    ['hangs', 'hangs', 'CM1704', /custom node a: custom_script took longer than 1800 s \(NODE_SCRIPT_TIMEOUT\)/],
    [
      'replaces torch',
      new Map([['torch', '2.1.0']]),
      'CM1708',
      /custom node a: custom_script replaced torch 2\.9\.0\+cu128/,
    ],
  ] as const)('names the node whose script %s, after all scripts were run', async (_what, script, code, message) => {
    const machine = memoryMachine([nodeOf('a', SCRIPT), nodeOf('b', SCRIPT)])
    machine.outside.scripts.set('a', script)
    expect(await machine.build()).toMatchObject({ code, message: expect.stringMatching(message) })
    expect(machine.asked).toContain('script b')
    expect(machine.whole()).toEqual([])
    expect(machine.pointer('next')).toBeUndefined()
    expect(childrenOf(machine).get('node b')?.state).toBe('done')
  })

  it('tells a package that a script changed, and goes on', async () => {
    const machine = memoryMachine([nodeOf('a', SCRIPT)])
    machine.outside.scripts.set('a', new Map([['numpy', '2.0']]))
    expect(await machine.build()).toBeUndefined()
    const said = machine.entries.map(({ message }) => message)
    expect(said).toContain('custom node a: custom_script changed packages: numpy none → 2.0')
  })

  it('calls a full disk a full disk, whatever said so', async () => {
    const machine = memoryMachine([nodeOf('a')], { failurePolicy: 'degraded' })
    const tools = await machine.tools()
    const checkout = async (): Promise<void> => {
      throw new Error('fatal: write error: No space left on device')
    }
    machine.tools = async () => ({ ...tools, git: { ...tools.git, checkout } })
    machine.texts.set('/w/components.json', JSON.stringify({ schema: 1, ...machine.wanted }))
    const { installNodes } = await import('../../../src/install/nodes.ts')
    await expect(installNodes(machine, machine.tools)).rejects.toMatchObject({ code: 'CM0402' })
  })

  it('removes what a killed build has left, and never goes on with it', async () => {
    const machine = memoryMachine([nodeOf('a')])
    const generations = '/w/comfyui/generations'
    for (const path of ['.staging/x', '.trash-1/x', '0123456789abcdef/main.py'])
      machine.texts.set(`${generations}/${path}`, '')
    machine.texts.set('/w/comfyui/next', 'generations/0123456789abcdef')
    await machine.build()
    expect([...machine.texts.keys()].filter((path) => /\.staging|\.trash|0123456789abcdef/.test(path))).toEqual([])
  })
})

describe('COMPONENT_FAILURE_POLICY=degraded', () => {
  const degraded = { failurePolicy: 'degraded' } as const

  it('goes without a node that is gone and says so, and tries it again at the next start', async () => {
    const machine = memoryMachine([nodeOf('a'), nodeOf('gone')], degraded)
    machine.outside.heads.delete(nodeOf('gone').url)
    expect(await machine.build()).toBeUndefined()
    const [id = ''] = machine.whole()
    expect(machine.lockOf(id)).toMatchObject({ nodes: [{ name: 'a' }], leftOut: [{ name: 'gone', code: 'CM1701' }] })
    expect(machine.lines).toContainEqual(
      expect.objectContaining({
        kind: 'shortfall',
        component: 'custom node gone',
        failure: expect.objectContaining({ code: 'CM1701' }) as object,
      }),
    )
    machine.asked.length = 0
    await machine.build()
    expect(machine.asked).toContain('open')
    expect(machine.whole()).toEqual([id])
    machine.outside.heads.set(nodeOf('gone').url, commitOf('d0'))
    await machine.build()
    expect(machine.lockOf(machine.pointer('current') ?? '').leftOut).toEqual([])
  })

  it('leaves out the later one of two that contradict each other, and does not try that again', async () => {
    const machine = memoryMachine([nodeOf('a'), nodeOf('bad')], degraded)
    machine.outside.conflicting.add('bad')
    await machine.build()
    const [id = ''] = machine.whole()
    expect(machine.lockOf(id).leftOut).toMatchObject([{ name: 'bad', code: 'CM1706' }])
    expect([...machine.texts.keys()].filter((path) => path.includes('custom_nodes/bad'))).toEqual([])
    machine.asked.length = 0
    machine.lines.length = 0
    await machine.build()
    expect(machine.asked).toEqual([])
    expect(machine.lines.filter(({ kind }) => kind === 'shortfall')).toHaveLength(1)
  })

  it('begins anew without a node whose script failed', async () => {
    const machine = memoryMachine([nodeOf('a', SCRIPT), nodeOf('b', SCRIPT)], degraded)
    machine.outside.scripts.set('a', 1)
    expect(await machine.build()).toBeUndefined()
    const [id = '', ...others] = machine.whole()
    expect(others).toEqual([])
    expect(machine.lockOf(id)).toMatchObject({ nodes: [{ name: 'b' }], leftOut: [{ name: 'a', code: 'CM1704' }] })
    expect(machine.asked.filter((each) => each === 'create')).toHaveLength(2)
  })

  it('takes a node back when its variable is set', async () => {
    const secrets: Record<string, string> = {}
    const machine = memoryMachine([nodeOf('a', { env: { T: 'TOKEN' } })], degraded, secrets)
    await machine.build()
    expect(machine.lockOf(machine.whole()[0] ?? '').leftOut).toMatchObject([{ name: 'a', code: 'CM1705' }])
    secrets['TOKEN'] = 'x'
    await machine.build()
    expect(machine.lockOf(machine.pointer('current') ?? '')).toMatchObject({ nodes: [{ name: 'a' }], leftOut: [] })
  })
})

describe('a lock', () => {
  it('makes an equal generation on another host, without resolving anything', async () => {
    const first = memoryMachine([nodeOf('a'), nodeOf('b', SCRIPT)])
    await first.build()
    const [id = ''] = first.whole()
    const lock = first.lockOf(id)
    const second = memoryMachine(lock.nodes)
    for (const { url } of lock.nodes) second.outside.heads.set(url, commitOf('f0'))
    second.texts.delete('/w/comfyui/source.json')
    second.wanted.lock = lock
    expect(await second.build({ comfyui: { repoUrl: `${COMFYUI}x`, ref: 'other', startTimeoutS: 1 } })).toBeUndefined()
    expect(second.whole()).toEqual([id])
    expect(second.lockOf(id)).toEqual(lock)
    expect(second.asked.filter((each) => each.startsWith('resolve'))).toEqual([])
    second.asked.length = 0
    await second.build()
    expect(second.asked).toEqual([])
  })

  it('is refused by another Python', async () => {
    const first = memoryMachine([nodeOf('a')])
    await first.build()
    const lock = first.lockOf(first.whole()[0] ?? '')
    const second = memoryMachine(lock.nodes)
    second.wanted.lock = lock
    second.outside.python = '3.12'
    expect(await second.build()).toMatchObject({ code: 'CM1405', message: expect.stringContaining('3.12') })
    expect(second.whole()).toEqual([])
  })

  it('leaves no node out, whatever the policy', async () => {
    const first = memoryMachine([nodeOf('a', SCRIPT)])
    await first.build()
    const lock = first.lockOf(first.whole()[0] ?? '')
    const second = memoryMachine(lock.nodes, { failurePolicy: 'degraded' })
    second.wanted.lock = lock
    second.outside.scripts.set('a', 1)
    expect(await second.build()).toMatchObject({ code: 'CM1704' })
    expect(namesOf(childrenOf(second).get('node a')?.children)).toEqual(['clone', 'install'])
  })
})
