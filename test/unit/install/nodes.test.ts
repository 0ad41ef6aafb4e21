import { describe, expect, it } from 'vitest'
import { MachineError } from '../../../src/errors.ts'
import type { Git, Python } from '../../../src/host/install-ports.ts'
import type { WantedNode } from '../../../src/install/components.ts'
import { installNodes } from '../../../src/install/nodes.ts'
import type { ReportedWork } from '../../../src/report.ts'
import { spanIdOf } from '../../../src/trace-context.ts'
import { childrenOf, INVOCATION, type MemoryContext, memoryContext } from './context.ts'

const COMMIT = 'c'.repeat(40)

function nodeOf(name: string, changes: Partial<WantedNode> = {}): WantedNode {
  return {
    name,
    url: `https://user:secret@git.example/${name}.git`,
    branch: null,
    commit: null,
    recursive: false,
    requirements: true,
    env: {},
    customScript: null,
    installOrder: null,
    isDefault: false,
    sources: ['defaults'],
    ...changes,
  }
}

/** Git that knows every URL but those with `gone`, and has the mirror of those with `old`; every node has requirements. */
function gitOf({ texts, pass }: MemoryContext): Git {
  return {
    listRemote: async () => [],
    readFile: async () => undefined,
    async fetch(url) {
      await pass(1_000)
      if (url.includes('gone')) throw new MachineError('CM1701', `${url} is not there`)
      return { commit: COMMIT, mirror: url.includes('old') ? 'reused' : 'fetched' }
    },
    async checkout(_url, _commit, directory) {
      texts.set(`${directory}/requirements.txt`, '')
    },
  }
}

/** Packages that install unless one of the requirement files is refused. */
function pythonOf({ pass }: MemoryContext, refused = 'none'): Python {
  return {
    installer: 'uv',
    interpreter: async () => '/usr/bin/python3',
    createEnvironment: async () => undefined,
    async installRequirements(_environment, files) {
      await pass(1_000)
      return files.some((file) => file.includes(refused)) ? { ok: false, detail: 'a conflict' } : { ok: true }
    },
    scriptEnvironment: () => ({}),
  }
}

async function run(nodes: readonly WantedNode[], refused?: string) {
  const context = memoryContext({}, {}, 17)
  context.texts.set('/w/components.json', JSON.stringify({ schema: 1, nodes, models: [] }))
  context.texts.set('/w/comfyui/current', 'generations/g1')
  const exec: MemoryContext['host']['exec'] = {
    async run(_argv, options) {
      options?.onLine?.('hello', 'stdout')
      return { code: 0, signal: null, timedOut: false, stdout: '', stderr: '' }
    },
  }
  const whole = { ...context, host: { ...context.host, exec } }
  const tools = async () => ({ git: gitOf(context), python: pythonOf(context, refused) })
  const error = await installNodes(whole, tools).catch((thrown: unknown) => thrown)
  return { ...whole, error }
}

const namesOf = (children: readonly ReportedWork[] = []): readonly string[] => children.map(({ name }) => name)

describe('installNodes', () => {
  it('has a child per node with clone and install, from the first to the last', async () => {
    const nodes = [nodeOf('a'), nodeOf('old', { env: { X: 'y' }, customScript: 'true' })]
    const context = await run(nodes)
    const node = childrenOf(context).get('node old')
    const [clone, install, ...others] = node?.children ?? []
    expect(others).toEqual([])
    expect(clone).toMatchObject({
      name: 'clone',
      state: 'done',
      attributes: { 'git.url': 'https://git.example/old.git', 'git.commit': COMMIT, 'git.mirror': 'reused' },
    })
    expect(install).toMatchObject({
      name: 'install',
      attributes: { 'install.env': 1, 'install.scripts': 'custom_script' },
    })
    expect(node).toMatchObject({ startUs: clone?.startUs, endUs: install?.endUs })
    expect(clone?.endUs).toBeLessThan(install?.startUs ?? 0)
    expect(childrenOf(context).get('node a')?.children?.[0]?.attributes['git.mirror']).toBe('fetched')
    expect(JSON.stringify(context.lines)).not.toContain('secret')
  })

  it('has one child for the joint resolution', async () => {
    const context = await run([nodeOf('a'), nodeOf('b')])
    expect(childrenOf(context).get('resolve requirements')).toMatchObject({
      state: 'done',
      attributes: { 'resolve.nodes': 2, 'resolve.installer': 'uv', 'resolve.outcome': 'together' },
    })
    expect(namesOf(childrenOf(context).get('node a')?.children)).toEqual(['clone', 'install'])
  })

  it('has a resolve per node where they do not go together, and the failure where it belongs', async () => {
    const context = await run([nodeOf('a'), nodeOf('bad')], 'bad')
    const children = childrenOf(context)
    expect(children.get('resolve requirements')).toMatchObject({
      state: 'failed',
      attributes: { 'resolve.outcome': 'conflict' },
      failure: { code: 'CM1703' },
    })
    expect(namesOf(children.get('node a')?.children)).toEqual(['clone', 'resolve', 'install'])
    const bad = children.get('node bad')
    expect(bad).toMatchObject({ state: 'failed', failure: { code: 'CM1703' }, attempts: [{ attempt: 1 }] })
    expect(bad?.children?.[1]).toMatchObject({ name: 'resolve', state: 'failed', failure: { code: 'CM1703' } })
    expect(bad?.endUs).toBe(bad?.children?.[1]?.endUs)
    expect(context.error).toMatchObject({ code: 'CM1703' })
  })

  it('ends a node that cannot be cloned with its clone', async () => {
    const context = await run([nodeOf('gone'), nodeOf('b')])
    const gone = childrenOf(context).get('node gone')
    expect(gone?.children).toMatchObject([{ name: 'clone', state: 'failed', failure: { code: 'CM1701' } }])
    expect(gone?.endUs).toBe(gone?.children?.[0]?.endUs)
  })

  it('has the span of the node on every journal line about it, and that of the step on others', async () => {
    const { entries } = await run([nodeOf('a', { customScript: 'true' })])
    const ofNode = entries.filter(({ fields }) => fields?.['COMFY_NODE'] === 'a')
    expect(ofNode.map(({ message }) => message)).toContain('a: hello')
    const span = spanIdOf(INVOCATION, 'child/node a')
    for (const { fields } of ofNode) expect(fields).toMatchObject({ TRACE_ID: '0'.repeat(32), SPAN_ID: span })
    expect(entries.at(-1)?.fields).toMatchObject({ TRACE_ID: '0'.repeat(32), SPAN_ID: INVOCATION.slice(0, 16) })
    expect(entries.at(-1)?.fields).not.toHaveProperty('COMFY_NODE')
  })

  it('tells how many nodes are fetched and set up, and which it is at', async () => {
    const { told } = await run([nodeOf('a'), nodeOf('b', { customScript: 'true' })])
    const texts = told.filter((each) => typeof each === 'string')
    expect(texts).toContain('0/2 custom nodes fetched, a, b')
    expect(texts).toContain('installing the Python packages of 2 custom nodes with uv')
    expect(texts).toContain('0/2 custom nodes set up')
    const at = told.indexOf('0/2 custom nodes fetched, a, b')
    expect(told[at - 1]).toEqual({ done: 0, total: 2, current: ['a', 'b'] })
  })
})
