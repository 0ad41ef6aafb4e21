import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Action, type Executors, execute } from '../../../src/apply/actions.ts'
import { diffFiles, diffLeftovers, isManagedUnit, unitPath } from '../../../src/apply/diff.ts'
import { directoriesOf, directoriesOfPlan } from '../../../src/apply/directories.ts'
import { filesOf } from '../../../src/apply/files.ts'
import { instanceDirectories, unitsOf } from '../../../src/render/unit-values.ts'
import { planOf } from '../observe/build-machine.ts'

describe('diffFiles', () => {
  const wanted = [
    { path: '/run/a', text: 'a', mode: 0o644 },
    { path: '/run/b', text: 'b', mode: 0o600 },
  ]

  test('writes what is missing or different, removes what is not wanted, leaves the rest alone', () => {
    const present = new Map([
      ['/run/a', 'a'],
      ['/run/b', 'older'],
      ['/run/c', 'c'],
    ])
    expect(diffFiles(present, wanted)).toEqual([
      { kind: 'remove-file', path: '/run/c' },
      { kind: 'write-file', path: '/run/b', text: 'b', mode: 0o600 },
    ])
  })

  test('carried out, it leaves exactly the wanted files; a second time there is nothing to do', () => {
    const names = fc.constantFrom('/run/a', '/run/b', '/run/c', '/run/d')
    const texts = fc.dictionary(names, fc.string()).map((record) => new Map(Object.entries(record)))
    fc.assert(
      fc.property(texts, texts, (present, target) => {
        const files = [...target].map(([path, text]) => ({ path, text, mode: 0o644 }))
        const after = new Map(present)
        for (const action of diffFiles(present, files)) {
          if (action.kind === 'write-file') after.set(action.path, action.text)
          if (action.kind === 'remove-file') after.delete(action.path)
        }
        expect(after).toEqual(target)
        expect(diffFiles(after, files)).toEqual([])
      }),
    )
  })
})

test('leftovers are stopped where they run and forgotten where they failed', () => {
  const units = [
    { name: 'comfyui@gpu0.service', activeState: 'active' },
    { name: 'comfyui@gpu1.service', activeState: 'activating' },
    { name: 'comfy-discover.service', activeState: 'failed' },
    { name: 'comfy-install-nodes.service', activeState: 'inactive' },
    { name: 'redis-worker@gpu0.service', activeState: 'deactivating' },
  ]
  expect(diffLeftovers(units)).toEqual([
    { kind: 'stop', unit: 'comfyui@gpu0.service' },
    { kind: 'stop', unit: 'comfyui@gpu1.service' },
    { kind: 'stop', unit: 'redis-worker@gpu0.service' },
    { kind: 'reset-failed', unit: 'comfy-discover.service' },
  ])
})

describe('isManagedUnit', () => {
  test('every unit that a plan renders', () => {
    expect(unitsOf(planOf(11)).filter(({ name }) => !isManagedUnit(name))).toEqual([])
  })

  test.each([
    'comfy-machine.service',
    'comfyui@.service',
    'comfyui@gpu0.service.d',
    'comfyui@gpuN.service',
    'my-comfyui@gpu0.service',
    'ssh.service',
  ])('never %s', (name) => {
    expect(isManagedUnit(name)).toBe(false)
  })
})

describe('filesOf', () => {
  const plan = planOf(1)
  const files = filesOf(
    plan,
    [{ name: 'comfy-machine.target', text: '[Unit]\n' }],
    new Map([['HF_TOKEN', 'hf-secret']]),
  )

  test('the plan and units can be read by everybody, a secret only by root', () => {
    expect(files.map(({ path, mode }) => [path, mode])).toEqual([
      ['/run/comfy-machine/plan.json', 0o644],
      [unitPath('comfy-machine.target'), 0o644],
      ['/run/comfy-machine/secrets/HF_TOKEN', 0o600],
    ])
    expect(files[2]?.text).toBe('hf-secret')
  })

  test('no secret stands in the plan', () => {
    const withSecret = planOf(1, 'HUB_REDIS_URL=redis://:hunter2@h.test\nHF_TOKEN=hf-secret\n')
    const [file] = filesOf(withSecret, [], new Map())
    expect(file?.text).not.toMatch(/hunter2|hf-secret/)
    expect(JSON.parse(file?.text ?? '')).toMatchObject({ secretNames: ['HF_TOKEN', 'HUB_REDIS_URL'] })
  })
})

describe('directories', () => {
  test('of the machine belong to the installers, and ComfyUI may add models', () => {
    const [, ...own] = directoriesOf({ workspace: '/srv/c', models: '/data/models' })
    expect(own.map(({ path, mode }) => `${path} ${mode.toString(8)}`)).toEqual([
      '/srv/c/comfyui 755',
      '/data/models 775',
      '/srv/c/node-env 750',
      '/var/cache/comfy-machine 755',
      '/var/cache/comfy-machine/git 755',
      '/var/cache/comfy-machine/uv 755',
      '/var/cache/comfy-machine/pip 755',
      '/var/cache/comfy-machine/home 755',
    ])
    expect(new Set(own.map(({ owner }) => owner))).toEqual(new Set(['comfy-install:comfy']))
  })

  test('leave the workspace to root, where comfy may add but not replace', () => {
    const [workspace] = directoriesOf({ workspace: '/srv/c', models: '/data/models' })
    expect(workspace).toMatchObject({ owner: 'root:comfy', mode: 0o1775 })
  })

  test('keep secrets to root', () => {
    const [secrets] = directoriesOfPlan(planOf(2))
    expect(secrets).toMatchObject({ path: '/run/comfy-machine/secrets', owner: 'root', mode: 0o700 })
  })

  test('of instances are what ComfyUI may write, and root alone makes any beside them', () => {
    const actions = directoriesOfPlan(planOf(1)).slice(1)
    const below = actions.map(({ path, owner }) => `${path.replace(/^.*\/instances/, '')} ${owner}`)
    expect(below).toEqual([
      ' root',
      '/gpu0 root',
      ...['output', 'temp', 'input', 'user', 'evidence'].map((name) => `/gpu0/${name} comfy:comfy`),
      '/home comfy:comfy',
    ])
  })

  test('of instances are never shared', () => {
    const directories = ['gpu0', 'gpu1'].flatMap((gpu) => Object.values(instanceDirectories(planOf(2), gpu)))
    expect(new Set(directories).size).toBe(10)
  })
})

test('an action is carried out by the executor of its kind', async () => {
  const done: Action[] = []
  const run = async (action: Action): Promise<undefined> => void done.push(action)
  const executors: Executors = {
    'make-directory': run,
    'write-file': run,
    'remove-file': run,
    point: run,
    reload: run,
    'reset-failed': run,
    stop: async () => 'done',
    restart: run,
    start: run,
  }
  expect(await execute(executors, { kind: 'stop', unit: 'a.service' })).toBe('done')
  await execute(executors, { kind: 'start', unit: 'a.service' })
  expect(done).toEqual([{ kind: 'start', unit: 'a.service' }])
})
