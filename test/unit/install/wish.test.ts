import { describe, expect, it } from 'vitest'
import type { WantedNode } from '../../../src/install/components.ts'
import { readInterpreter, type Wish, wishKey } from '../../../src/install/wish.ts'
import type { MachinePlan } from '../../../src/plan/plan.ts'
import { commitOf, nodeOf } from './build-context.ts'
import { memoryContext } from './context.ts'

const { plan, host } = memoryContext()
const source = { repoUrl: 'https://git.example/comfyui', ref: null, resolved: 'v1', commit: commitOf('c0') }
const wish: Wish = { source, nodes: [nodeOf('a'), nodeOf('b')], interpreter: '/usr/bin/python3.13' }
const withNode = (changes: Partial<WantedNode>): Wish => ({ ...wish, nodes: [nodeOf('a', changes), nodeOf('b')] })
const withPlan = (changes: Partial<MachinePlan>): string => wishKey({ ...plan, ...changes }, wish)

describe('wishKey', () => {
  it.each([
    ['the repository of ComfyUI', { ...wish, source: { ...source, repoUrl: 'https://git.example/fork' } }],
    ['the ref of ComfyUI', { ...wish, source: { ...source, ref: 'master' } }],
    ['the commit of ComfyUI', { ...wish, source: { ...source, commit: commitOf('c1') } }],
    ['the interpreter', { ...wish, interpreter: '/usr/bin/python3.14' }],
    ['the order of the nodes', { ...wish, nodes: wish.nodes.toReversed() }],
    ['a node more', { ...wish, nodes: [...wish.nodes, nodeOf('c')] }],
    ['a URL', withNode({ url: 'https://git.example/other' })],
    ['a branch', withNode({ branch: 'x' })],
    ['a commit', withNode({ commit: commitOf('a1') })],
    ['submodules', withNode({ recursive: true })],
    ['requirements', withNode({ requirements: false })],
    ['a variable', withNode({ env: { T: 'TOKEN' } })],
    ['a script', withNode({ customScript: 'true' })],
  ] as const)('is another one for %s', (_what, other) => {
    expect(wishKey(plan, other)).not.toBe(wishKey(plan, wish))
  })

  it.each([
    ['installer', { python: { installer: 'pip', torchBackend: null } }],
    ['build of torch', { python: { installer: 'uv', torchBackend: 'cu128' } }],
    ['package index', { environment: { PIP_INDEX_URL: 'https://index.example/simple' } }],
    ['right to write', { nodes: { scriptTimeoutS: 1800, writable: true } }],
  ] as const)('is another one for another %s', (_what, changes) => {
    expect(withPlan(changes)).not.toBe(wishKey(plan, wish))
  })

  it.each([
    ['other variables', { environment: { MACHINE_ID: 'x', HTTPS_PROXY: 'http://p' } }],
    ['another machine', { machineId: 'other', traceId: '1'.repeat(32) }],
    ['more patience', { nodes: { scriptTimeoutS: 5, writable: false } }],
  ] as const)('is the same for %s', (_what, changes) => {
    expect(withPlan(changes)).toBe(wishKey(plan, wish))
  })

  it('is the same whoever asked for a node, and in whatever order its variables came', () => {
    const one = withNode({ env: { A: '1', B: '2' }, sources: ['defaults'] })
    const other = withNode({ env: { B: '2', A: '1' }, sources: ['workflow x'], installOrder: 3, isDefault: true })
    expect(wishKey(plan, one)).toBe(wishKey(plan, other))
  })
})

describe('readInterpreter', () => {
  it('follows links, and takes the interpreter that the operator names', async () => {
    const { files } = memoryContext().host
    await files.writeText('/usr/bin/python3.13', '')
    await files.link('python3.13', '/usr/bin/python3')
    expect(await readInterpreter(files, {})).toBe('/usr/bin/python3.13')
    await files.writeText('/opt/python', '')
    expect(await readInterpreter(files, { UV_PYTHON: '/opt/python' })).toBe('/opt/python')
    expect(await readInterpreter(host.files, {})).toBe('')
  })
})
