import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { MachineLock } from '../../src/install/machine-lock.ts'
import {
  addWorkflow,
  clearRequests,
  commitTo,
  componentNode,
  readComponents,
  readRequests,
  writeComponents,
} from '../fixtures/scenario.ts'
import { expectFailure, expectToGoOn } from './failure.ts'
import type { Host } from './host.ts'
import {
  bootMachine,
  configure,
  installedThings,
  readJournal,
  show,
  startToReady,
  stop,
  toMicroseconds,
  WORKSPACE,
} from './machine.ts'

const HOME = `${WORKSPACE}/comfyui`
const NODES = 'comfy-install-nodes.service'
const INSTALLERS = ['comfy-install-comfyui.service', 'comfy-discover.service', NODES, 'comfy-install-models.service']

// What ComfyUI does with a directory of custom_nodes.
const IMPORT_ALL = `
import importlib.util, os, sys
base = os.path.join(os.getcwd(), "custom_nodes")
for name in sorted(os.listdir(base)):
    place = os.path.join(base, name, "__init__.py")
    if os.path.exists(place):
        spec = importlib.util.spec_from_file_location(name.replace("-", "_"), place, submodule_search_locations=[os.path.dirname(place)])
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        print(name)
`

async function pointersOf(host: Host): Promise<Readonly<Record<string, string>>> {
  const text = await host.must(
    `cd ${HOME} && for p in current next gpu*; do [ -L $p ] && echo $p $(basename $(readlink $p)); done; true`,
  )
  const lines = text.trim().split('\n')
  return Object.fromEntries(lines.map((line) => line.split(' ') as [string, string]))
}

const everywhere = (id: string): Readonly<Record<string, string>> => ({ current: id, gpu0: id, gpu1: id })

async function generationsOf(host: Host): Promise<readonly string[]> {
  return (await host.must(['ls', '-A', `${HOME}/generations`])).trim().split('\n')
}

async function lockOf(host: Host, id: string): Promise<MachineLock> {
  return JSON.parse(await host.read(`${HOME}/generations/${id}/machine.lock.json`)) as MachineLock
}

/** Expects every generation to be whole: its repositories have all that belongs to them, and every node can be imported. */
async function expectWhole(host: Host): Promise<void> {
  for (const id of await generationsOf(host)) {
    expect(id).toMatch(/^[0-9a-f]{16}$/)
    const directory = `${HOME}/generations/${id}`
    const lock = await lockOf(host, id)
    expect(lock.generation).toBe(id)
    const checks = [{ name: '.', commit: lock.comfyui.commit }, ...lock.nodes].map(({ name, commit }) => {
      const place = name === '.' ? directory : `${directory}/custom_nodes/${name}`
      return `git -C ${place} fsck --no-progress && [ $(git -C ${place} rev-parse HEAD) = ${commit} ]`
    })
    const git = 'export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"'
    await host.must(`${git} && ${checks.join(' && ')}`)
    const python = `cd ${directory} && exec runuser -u comfy -- venv/bin/python -B -c "$0"`
    const imported = await host.must(['bash', '-c', python, IMPORT_ALL])
    expect(imported.trim().split('\n').sort()).toEqual(lock.nodes.map(({ name }) => name).sort())
  }
}

/** Waits until the generations that nobody needs are removed after a rollout. */
async function waitForCollection(host: Host): Promise<void> {
  await host.waitFor(`[ $(ls -A ${HOME}/generations | wc -l) = 2 ]`, 10_000)
}

/** Milliseconds from the first installer's begin to the end of the last. */
async function phaseMs(host: Host): Promise<number> {
  const times = await Promise.all(
    INSTALLERS.map((unit) => show(host, unit, 'InactiveExitTimestamp', 'ActiveEnterTimestamp')),
  )
  const begin = Math.min(...times.map((each) => toMicroseconds(each['InactiveExitTimestamp'] ?? '')))
  const end = Math.max(...times.map((each) => toMicroseconds(each['ActiveEnterTimestamp'] ?? '')))
  return Math.round((end - begin) / 1000)
}

async function secondsOf(host: Host, unit: string): Promise<number> {
  const times = await show(host, unit, 'InactiveExitTimestamp', 'ActiveEnterTimestamp')
  const [begin, end] = [times['InactiveExitTimestamp'] ?? '', times['ActiveEnterTimestamp'] ?? '']
  return (toMicroseconds(end) - toMicroseconds(begin)) / 1e6
}

// One machine goes through these in this order.
describe('generations', () => {
  let host: Host
  let first: string

  beforeAll(async () => {
    host = await bootMachine('generations')
    await startToReady(host)
  })

  afterAll(async () => {
    await host.stop()
  })

  test('are one after the first start, whole, and every pointer names it', async () => {
    first = (await pointersOf(host))['current'] ?? ''
    expect(await pointersOf(host)).toEqual(everywhere(first))
    expect(await generationsOf(host)).toEqual([first])
    await expectWhole(host)
    // The models installer adds the hashes of models to the lock.
    const written = await host.must(
      `find ${HOME}/generations -newer ${HOME}/generations/${first}/.complete -type f ! -name machine.lock.json`,
    )
    expect(written, 'what ran wrote into it').toBe('')
    process.stdout.write(`generations: first one built in ${await secondsOf(host, NODES)} s\n`)
    await stop(host)
  })

  test('stay as they are when nothing has changed', async () => {
    const before = await installedThings(host)
    const sums: number[] = []
    const phases: number[] = []
    for (let times = 0; times < 3; times += 1) {
      for (const server of ['git', 'index'] as const) await clearRequests(host, server)
      await startToReady(host)
      for (const server of ['git', 'index'] as const) expect(await readRequests(host, server), server).toEqual([])
      const seconds = await Promise.all(INSTALLERS.map((unit) => secondsOf(host, unit)))
      sums.push(Math.round(seconds.reduce((sum, each) => sum + each, 0) * 1000))
      phases.push(await phaseMs(host))
      await stop(host)
    }
    expect(await installedThings(host)).toEqual(before)
    const figures = `component phase ${phases.join(', ')} ms, sum of the four installers ${sums.join(', ')} ms`
    process.stdout.write(`generations: nothing changed, ${figures}\n`)
  })

  test('are two when one node is to be at another commit: the old one is untouched, and packages are shared', async () => {
    const before = await installedThings(host)
    const commit = await commitTo(host, 'node-alpha', { 'CHANGED.md': 'changed\n' })
    const defaults = await readComponents(host, 'defaults')
    await writeComponents(
      host,
      'defaults',
      defaults.map((node) => (node.name === 'node-alpha' ? { ...node, commit } : node)),
    )
    await startToReady(host)
    const { current: second = '' } = await pointersOf(host)
    expect(await pointersOf(host)).toEqual(everywhere(second))
    expect((await generationsOf(host)).toSorted()).toEqual([first, second].toSorted())
    const now = await installedThings(host)
    for (const [name, identity] of before) expect(now.get(name), name).toBe(identity)
    await expectWhole(host)
    const [old, next] = [await lockOf(host, first), await lockOf(host, second)]
    expect(next.nodes.find(({ name }) => name === 'node-alpha')?.commit).toBe(commit)
    const others = (lock: MachineLock) => lock.nodes.filter(({ name }) => name !== 'node-alpha')
    expect(others(next)).toEqual(others(old))
    const torch = 'venv/lib/python3*/site-packages/torch/__init__.py'
    const inodes = await host.must(`stat -c %i ${HOME}/generations/*/${torch}`)
    expect(new Set(inodes.trim().split('\n')).size).toBe(1)
    const [seconds] = [await secondsOf(host, NODES)]
    process.stdout.write(`generations: next one with one changed node in ${seconds} s\n`)
    await stop(host)
  })

  test('come out equal on another host of a lock, without component API and resolution', async () => {
    const text = await host.must(['comfy-machine', 'lock', first])
    const other = await bootMachine('locked', {
      MACHINE_LOCK: '/etc/comfy-machine/machine.lock.json',
      EMPROPS_API_URL: undefined,
      COMPONENTS: undefined,
    })
    try {
      await other.must('systemctl stop fixture-api')
      await other.write('/etc/comfy-machine/machine.lock.json', text)
      await startToReady(other)
      expect(await pointersOf(other)).toEqual(everywhere(first))
      expect(await lockOf(other, first)).toEqual(JSON.parse(text))
      await expectWhole(other)
      const files = `cd ${HOME}/generations/${first} && find . -name .git -prune -o -type f ! -name '*.pyc' ! -name installed.json ! -path './.complete' -print0 | sort -z | xargs -0 sha256sum | grep -v machine.lock.json | grep -v RECORD`
      expect(await other.must(files)).toBe(await host.must(files))
      await other.must(['sed', '-i', 's/"requirements": "/&torch==1.0 /', '/etc/comfy-machine/machine.lock.json'])
      await stop(other)
      await expectFailure(other, { code: 'CM1608', unit: 'comfy-discover.service', says: /its content is/ })
    } finally {
      await other.stop()
    }
  })

  test('are left as they are by requirements that contradict each other, which are named', async () => {
    const before = await installedThings(host)
    const pointers = await pointersOf(host)
    await commitTo(host, 'node-bad-requirements', { 'requirements.txt': 'fixture-alpha>=2\n' })
    await configure(host, { COMPONENTS: 'demo,bad-requirements' })
    await expectFailure(host, {
      code: 'CM1706',
      unit: NODES,
      says: /node-alpha wants fixture-alpha>=1\.0,<2.*node-bad-requirements wants fixture-alpha>=2/,
    })
    expect(await pointersOf(host)).toEqual(pointers)
    expect(await host.must(`ls -A ${HOME}/generations | grep -v '^[0-9a-f]*$' || true`)).toBe('')
    await configure(host)
    await expectToGoOn(host, before)
  })

  test('are left as they are by a script that hangs', async () => {
    const before = await installedThings(host)
    await addWorkflow(host, 'hangs', componentNode('node-custom-script', { custom_script: 'sleep 4242' }))
    await configure(host, { COMPONENTS: 'demo,hangs', NODE_SCRIPT_TIMEOUT: '2' })
    await expectFailure(host, { code: 'CM1704', unit: NODES, says: /node-custom-script.*2 s \(NODE_SCRIPT_TIMEOUT\)/ })
    expect((await host.exec(['pgrep', '-f', 'sleep [4]242'])).code).toBe(1)
    await configure(host)
    await expectToGoOn(host, before)
  })

  test('outlive what their scripts have left running, and scripts see no secret', async () => {
    const script =
      'if [ -d SCRIPTS ]; then mv SCRIPTS/* .; fi; env > seen; cat .env >> seen || true; setsid sleep 4343 & disown'
    const env = { TOKEN: `\${HF_TOKEN}`, PLACE: 'here' }
    await addWorkflow(host, 'forks', componentNode('node-custom-script', { custom_script: script, env }))
    await configure(host, { COMPONENTS: 'demo,forks' })
    await startToReady(host)
    expect((await host.exec(['pgrep', '-f', 'sleep [4]343'])).code).toBe(1)
    const node = `${HOME}/current/custom_nodes/node-custom-script`
    const seen = await host.read(`${node}/seen`)
    expect(seen).toContain('PLACE=here')
    expect(seen).not.toMatch(/hf-fixture-token|^TOKEN=/m)
    expect(await host.read(`${node}/.env`)).toContain("TOKEN='hf-fixture-token'")
    await waitForCollection(host)
    await stop(host)
  })

  test('are two at most, and the one to go back to is one of them', async () => {
    const { current = '' } = await pointersOf(host)
    const all = await generationsOf(host)
    expect(all).toHaveLength(2)
    expect(all).toContain(current)
    expect(all).not.toContain(first)
    await expectWhole(host)
  })

  test('go without a node that cannot be had, where that is allowed, and say so', async () => {
    await configure(host, { COMPONENTS: 'demo,conflict', COMPONENT_FAILURE_POLICY: 'degraded' })
    await startToReady(host)
    const { current = '' } = await pointersOf(host)
    const lock = await lockOf(host, current)
    expect(lock.leftOut).toMatchObject([{ name: 'node-conflict', code: 'CM1706' }])
    const said = await readJournal(host, '-u', NODES, 'COMFY_NODE=node-conflict')
    expect(said.map(({ MESSAGE }) => MESSAGE)).toContainEqual(
      expect.stringMatching(/^the machine goes without custom node node-conflict: CM1706/),
    )
    await waitForCollection(host)
    await stop(host)
    const before = await installedThings(host)
    await clearRequests(host, 'git')
    await startToReady(host)
    expect(await installedThings(host)).toEqual(before)
    expect(await readRequests(host, 'git')).toEqual([])
    await stop(host)
  })

  test('are whole after a build that was killed', async () => {
    await configure(host)
    await addWorkflow(host, 'slow', componentNode('node-custom-script', { custom_script: 'sleep 4444' }))
    await configure(host, { COMPONENTS: 'demo,slow' })
    const pointers = await pointersOf(host)
    await host.must('systemctl start --no-block comfy-machine')
    await host.waitFor('pgrep -f "sleep [4]444"')
    await host.must(`systemctl kill --signal=KILL --kill-whom=main ${NODES}; systemctl stop comfy-machine; true`)
    await host.waitFor('! pgrep -f "sleep [4]444"')
    await stop(host)
    const { next: _, ...after } = await pointersOf(host)
    expect(after).toEqual(pointers)
    await configure(host)
    await startToReady(host)
    await expectWhole(host)
    expect(Object.keys(await pointersOf(host)).sort()).toEqual(['current', 'gpu0', 'gpu1'])
    await stop(host)
  })
})
