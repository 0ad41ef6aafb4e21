import { describe, expect, it } from 'vitest'
import { digest } from '../../../src/host/digest.ts'
import type { StoreHolder } from '../../../src/host/model-ports.ts'
import type { WantedModel } from '../../../src/install/components.ts'
import { type BringOptions, bringModels } from '../../../src/models/bring-models.ts'
import { parseIndex } from '../../../src/models/model-index.ts'
import type { ModelWork } from '../../../src/models/model-work.ts'
import type { MachinePlan } from '../../../src/plan/plan.ts'
import { childrenOf, type MemoryContext, memoryContext } from '../install/context.ts'
import { errno, type ModelWorld, modelOf, modelWorld } from './memory-store.ts'

const BLOBS = '/w/models/.store/blobs/sha256'
const unknown = { sha256: null, bytes: null, estimatedBytes: 0 }

interface Machine {
  readonly context: MemoryContext
  readonly world: ModelWorld
  bring(models: readonly WantedModel[], options?: Partial<BringOptions>): Promise<readonly ModelWork[]>
  index(): Readonly<Record<string, unknown>>
}

function machine(changes: Partial<MachinePlan> = {}, secrets: Readonly<Record<string, string>> = {}): Machine {
  const memory = memoryContext({}, secrets, 18)
  const context: MemoryContext = { ...memory, plan: { ...memory.plan, ...changes } }
  const world = modelWorld(context)
  return {
    context,
    world,
    bring: (models, options) =>
      bringModels(context, world.open, models, { command: 'me', isPatient: true, ...options }),
    index: () => Object.fromEntries(parseIndex(context.texts.get('/w/models.json'))),
  }
}

const outcome = (works: readonly ModelWork[]) =>
  works.map(({ model, action, error }) => [model.name, error?.code ?? action])

describe('a model', () => {
  it('is downloaded into the store, placed from there and recorded', async () => {
    const { context, world, bring, index } = machine()
    world.served.set('https://models.example/vae/a', 'content')
    await bring([modelOf('vae/a', 'content')])
    const blob = `${BLOBS}/${digest('content')}`
    expect(world.done).toEqual([`seal ${blob}`, 'place /w/models/vae/a'])
    expect(context.texts.get('/w/models/vae/a')).toBe('content')
    expect([...context.texts.keys()].filter((path) => path.includes('/partial/'))).toEqual([])
    expect(index()).toEqual({
      'vae/a': { bytes: 7, mtimeMs: expect.any(Number), sha256: digest('content'), brought: true },
    })
    expect(world.requests[0]).toMatchObject({ bytes: 7, sha256: digest('content') })
  })

  it('is not touched when it is there as it was verified', async () => {
    const { world, bring } = machine()
    world.served.set('https://models.example/a', 'content')
    const models = [modelOf('a', 'content')]
    await bring(models)
    const [taken, done] = [world.lock.taken, world.done.length]
    expect(outcome(await bring(models))).toEqual([['a', 'keep']])
    expect([world.lock.taken, world.done.length]).toEqual([taken, done])
  })

  it('comes out of the store when that has it', async () => {
    const { context, world, bring } = machine()
    context.texts.set(`${BLOBS}/${digest('content')}`, 'content')
    expect(outcome(await bring([modelOf('a', 'content', { url: null })]))).toEqual([['a', 'place']])
    expect([context.texts.get('/w/models/a'), world.fetched]).toEqual(['content', []])
    expect(childrenOf(context).get('model a')?.attributes).toMatchObject({ 'model.placement': 'linked' })
  })

  it('is looked for by its hash at mirrors before its origin, which alone gets a token', async () => {
    const models = {
      sources: ['https://mirror.example/s'],
      connections: 1,
      connectionsPerHost: 1,
      rateLimit: null,
      sharePort: null,
    }
    const { world, bring } = machine({ models }, { HF_TOKEN: 'secret' })
    const mirror = `https://mirror.example/s/blobs/sha256/${digest('content')}`
    world.served.set(mirror, 'content')
    const url = 'https://huggingface.co/a'
    await bring([modelOf('a', 'content', { url }), modelOf('b', 'content', { url: null })])
    expect(world.fetched).toEqual([mirror])
    expect(world.requests[0]?.sources).toEqual([
      { url: mirror, token: null, tokenVariable: null },
      { url, token: 'secret', tokenVariable: 'HF_TOKEN' },
    ])
  })

  it('that nobody has is named', async () => {
    const [work] = await machine().bring([modelOf('vae/a', 'x', { url: null })])
    expect(work?.error).toMatchObject({ code: 'CM1807', message: 'model vae/a has no URL and is not there' })
  })

  it('leaves nothing of what an earlier version had downloaded of it', async () => {
    const { context, world, bring } = machine()
    world.served.set('https://models.example/a', 'content')
    for (const ending of ['.part', '.part.json']) context.texts.set(`/w/models/a${ending}`, 'con')
    await bring([modelOf('a', 'content')])
    expect([...context.texts.keys()].filter((path) => path.includes('.part'))).toEqual([])
  })
})

describe('models of one content', () => {
  it.each([
    ['of one hash', {}],
    ['of one URL where no hash is known', { ...unknown, url: 'https://models.example/a' }],
  ])('%s are one download', async (_, changes) => {
    const { context, world, bring } = machine()
    world.served.set('https://models.example/a', 'content')
    const works = await bring([modelOf('a', 'content', changes), modelOf('loras/b', 'content', changes)])
    expect(outcome(works)).toEqual([
      ['a', 'download'],
      ['b', 'place'],
    ])
    expect(world.fetched.length).toBe(1)
    expect(context.texts.get('/w/models/loras/b')).toBe('content')
  })

  it('come from any of their URLs', async () => {
    const { world, bring } = machine()
    world.served.set('https://models.example/b', 'content')
    expect((await bring(['a', 'b'].map((path) => modelOf(path, 'content')))).map(({ error }) => error)).toEqual([
      undefined,
      undefined,
    ])
  })

  it('all fail with their download, each by its name', async () => {
    const { bring } = machine()
    const works = await bring([modelOf('a', 'content'), modelOf('b', 'content')])
    expect(works.map(({ error }) => error?.message)).toEqual([
      'model a: models.example answered 404',
      'model b: models.example answered 404',
    ])
  })

  it('are not all wrong when one of them declares another size', async () => {
    const { context, world, bring } = machine()
    world.served.set('https://models.example/a', 'content')
    const works = await bring([modelOf('a', 'content'), modelOf('b', 'content', { bytes: 8 })])
    expect(outcome(works)).toEqual([
      ['a', 'download'],
      ['b', 'CM1810'],
    ])
    expect(context.texts.has('/w/models/b')).toBe(false)
  })
})

describe('a source that declares no hash', () => {
  const models = [modelOf('a', '', unknown)]

  async function served(first: string, then: string) {
    const made = machine()
    made.world.served.set('https://models.example/a', first)
    await made.bring(models)
    made.context.texts.delete('/w/models/a')
    made.context.texts.delete(`${BLOBS}/${digest(first)}`)
    made.world.served.set('https://models.example/a', then)
    return made
  }

  it('is held to what it served first', async () => {
    const { context, world, bring } = await served('first', 'other')
    const [work] = await bring(models)
    expect(work?.error).toMatchObject({
      code: 'CM1804',
      message: `model a: sha256 is ${digest('other')}, expected ${digest('first')}, as models.example served it first`,
      hint: expect.stringContaining('comfy-machine models pull --accept a'),
    })
    expect(world.requests.at(-1)).toMatchObject({ sha256: digest('first'), bytes: 5 })
    expect(context.texts.has('/w/models/a')).toBe(false)
    expect(childrenOf(context).get('model a')?.attributes).toMatchObject({ 'model.pinned': true })
  })

  it('may serve the same again', async () => {
    const { bring } = await served('first', 'first')
    expect((await bring(models))[0]).toMatchObject({ error: undefined, isPinned: true })
  })

  it('may serve another file when that is accepted, also where the first one is there', async () => {
    const { context, world, bring, index } = machine()
    world.served.set('https://models.example/a', 'first')
    await bring(models)
    world.served.set('https://models.example/a', 'other')
    expect(outcome(await bring(models))).toEqual([['a', 'keep']])
    const works = await bring(models, { accepts: ({ name }) => name === 'a' })
    expect([outcome(works), context.texts.get('/w/models/a')]).toEqual([[['a', 'download']], 'other'])
    expect(index()).toMatchObject({ a: { sha256: digest('other') } })
    expect(outcome(await bring(models))).toEqual([['a', 'keep']])
  })
})

describe('a file that is there and not known', () => {
  it('is read once, and its content is in the store then', async () => {
    const { context, world, bring, index } = machine()
    context.texts.set('/w/models/a', 'content')
    expect(outcome(await bring([modelOf('a', 'content')]))).toEqual([['a', 'verify']])
    expect(world.done).toEqual(['hash /w/models/a', 'adopt /w/models/a'])
    expect(index()).toEqual({ a: { bytes: 7, mtimeMs: expect.any(Number), sha256: digest('content') } })
  })

  it('has a hash from then on, also where none is declared', async () => {
    const { context, bring, index } = machine()
    context.texts.set('/w/models/a', 'content')
    await bring([modelOf('a', '', { ...unknown, url: null })])
    expect(index()).toMatchObject({ a: { sha256: digest('content') } })
  })

  it('is downloaded anew when it is another one', async () => {
    const { context, world, bring } = machine()
    context.texts.set('/w/models/a', 'CONTENT')
    world.served.set('https://models.example/a', 'content')
    expect(outcome(await bring([modelOf('a', 'content')]))).toEqual([['a', 'download']])
    expect(context.texts.get('/w/models/a')).toBe('content')
    expect(context.entries.map(({ message }) => message)).toContain(
      '/w/models/a does not have the expected sha256 and is downloaded anew',
    )
  })

  it('stays when it is another one that nobody has', async () => {
    const { context, bring } = machine()
    context.texts.set('/w/models/a', 'CONTENT')
    expect(outcome(await bring([modelOf('a', 'content', { url: null })]))).toEqual([['a', 'CM1804']])
    expect(context.texts.get('/w/models/a')).toBe('CONTENT')
  })

  it('spares the download of another model of its content', async () => {
    const { context, world, bring } = machine()
    context.texts.set('/w/models/a', 'content')
    const works = await bring([modelOf('b', 'content'), modelOf('a', 'content')])
    expect([outcome(works), world.fetched]).toEqual([
      [
        ['b', 'place'],
        ['a', 'verify'],
      ],
      [],
    ])
  })

  it('is downloaded with another model of its content when it is not that', async () => {
    const { context, world, bring } = machine()
    context.texts.set('/w/models/a', 'CONTENT')
    world.served.set('https://models.example/a', 'content')
    await bring([modelOf('b', 'content'), modelOf('a', 'content')])
    expect([world.fetched.length, context.texts.get('/w/models/a'), context.texts.get('/w/models/b')]).toEqual([
      1,
      'content',
      'content',
    ])
  })
})

it('content of the store that was changed in place is found out and downloaded anew', async () => {
  const { context, world, bring } = machine()
  world.served.set('https://models.example/a', 'content')
  await bring([modelOf('a', 'content')])
  const { lstat } = context.host.files
  const changed = { kind: 'file', bytes: 7, mode: 0o644, uid: 0, mtimeMs: 99 } as const
  const blob = `${BLOBS}/${digest('content')}`
  const shared = new Set([blob, '/w/models/a'])
  for (const path of shared) context.texts.set(path, 'cOntent')
  context.host.files.stat = async (path) => (shared.has(path) && context.texts.has(path) ? changed : lstat(path))
  const seal = world.done.length
  const works = await bring([modelOf('a', 'content')])
  expect(outcome(works)).toEqual([['a', 'download']])
  expect(world.done.slice(seal)).toEqual(['hash /w/models/a', `seal ${blob}`, 'place /w/models/a'])
  expect(context.texts.get(blob)).toBe('content')
})

describe('room', () => {
  const free = (made: Machine, bytes: number, inodes = 1_000): void => {
    made.context.host.files.freeSpace = async () => ({ bytes, inodes })
  }
  const RESERVE = 64 * 2 ** 20

  it('is there for all of them, or nothing is asked for', async () => {
    const made = machine()
    free(made, RESERVE + 13)
    const models = [modelOf('a', 'content'), modelOf('b', 'content!')]
    await expect(made.bring(models)).rejects.toMatchObject({
      code: 'CM1806',
      message: '2 models need 0.00 GB of the 0.07 GB that are left on /w/models',
      hint: expect.stringContaining('comfy-machine models gc'),
    })
    expect([made.world.fetched, made.world.lock]).toEqual([[], { taken: 1, touched: 0, released: 1 }])
  })

  it('counts what has arrived, sizes that only a source knows, and one content once', async () => {
    const made = machine()
    free(made, RESERVE + 12)
    made.context.texts.set(`/w/models/.store/partial/${digest('content')}`, 'con')
    made.world.sizes.set('https://models.example/c', 8)
    for (const path of ['a', 'b']) made.world.served.set(`https://models.example/${path}`, 'content')
    made.world.served.set('https://models.example/c', 'content!')
    const models = [modelOf('a', 'content'), modelOf('b', 'content'), modelOf('c', '', unknown)]
    expect((await made.bring(models)).map(({ error }) => error)).toEqual([undefined, undefined, undefined])
    free(made, RESERVE + 7)
    made.context.texts.delete('/w/models/c')
    made.context.texts.delete(`${BLOBS}/${digest('content!')}`)
    await expect(made.bring(models)).rejects.toMatchObject({ code: 'CM1806' })
  })

  it('is also a matter of inodes', async () => {
    const made = machine()
    free(made, 1e12, 3)
    await expect(made.bring([modelOf('a', '1'), modelOf('b', '2')])).rejects.toMatchObject({
      code: 'CM1806',
      message: '2 models need 4 inodes of the 3 that are left on /w/models',
    })
  })

  it('bounds a download of unknown size', async () => {
    const made = machine()
    free(made, RESERVE + 100)
    made.world.served.set('https://models.example/a', 'content')
    await made.bring([modelOf('a', '', unknown), modelOf('b', '0123456789')])
    expect(made.world.requests.map(({ mostBytes }) => mostBytes)).toEqual([90, 90])
  })
})

it.each([
  ['place /w/models/a', 'EACCES', 'CM0401'],
  ['place /w/models/a', 'EROFS', 'CM0401'],
  [`seal ${BLOBS}/${digest('content')}`, 'ENOSPC', 'CM1806'],
])('%s fails with %s: the others go on', async (step, code, expected) => {
  const { context, world, bring, index } = machine()
  for (const path of ['a', 'b']) world.served.set(`https://models.example/${path}`, path === 'a' ? 'content' : 'other')
  world.refuse.set(step, errno(code))
  const works = await bring([modelOf('a', 'content'), modelOf('b', 'other')])
  expect(outcome(works)).toEqual([
    ['a', expected],
    ['b', 'download'],
  ])
  expect([context.texts.has('/w/models/a'), Object.keys(index())]).toEqual([false, ['b']])
})

describe('a store that another process holds', () => {
  const holderOf = (aliveMs: number): StoreHolder => ({ pid: 7, command: 'comfy-machine models gc', aliveMs })

  it('is waited for, and what is to be done is planned anew then', async () => {
    const { context, world, bring, index } = machine()
    const extended: number[] = []
    context.host.notify.extend = (ms) => void extended.push(ms)
    world.holders.push(holderOf(1), holderOf(1), holderOf(2))
    const { sleep } = context.host.clock
    context.host.clock.sleep = async (ms, signal) => {
      const known = { bytes: 7, mtimeMs: 1, sha256: digest('content') }
      context.texts.set('/w/models/a', 'content')
      context.texts.set('/w/models.json', JSON.stringify({ schema: 1, files: { a: known } }))
      await sleep(ms, signal)
    }
    expect(outcome(await bring([modelOf('a', 'content')]))).toEqual([['a', 'keep']])
    const text = 'waiting for comfy-machine models gc (PID 7), which works on the models'
    expect([context.told.filter((each) => each === text).length, extended.length]).toEqual([2, 1])
    expect(context.entries.map(({ message }) => message)).toEqual([text])
    expect([world.fetched, Object.keys(index()), world.lock.released]).toEqual([[], ['a'], 1])
  })

  it('is not waited for any more when the holder shows no progress', async () => {
    const { context, world, bring } = machine()
    world.holders.push(...Array.from({ length: 100 }, () => holderOf(1)))
    await expect(bring([modelOf('a', 'content')])).rejects.toMatchObject({
      code: 'CM1809',
      message: 'comfy-machine models gc (PID 7) works on the models',
    })
    expect(context.sleeps.reduce((sum, ms) => sum + ms, 0)).toBe(122_000)
  })

  it('is not waited for by somebody at a terminal', async () => {
    const { context, world, bring } = machine()
    world.holders.push({ pid: 0, command: '', aliveMs: 1 })
    await expect(bring([modelOf('a', 'content')], { isPatient: false })).rejects.toMatchObject({
      code: 'CM1809',
      message: 'another process works on the models',
    })
    expect(context.sleeps).toEqual([])
  })
})

it('those who wait are told of progress', async () => {
  const context = memoryContext({}, {}, 18)
  const world = modelWorld(context, async ({ onBytes }) => {
    for (let second = 0; second < 30; second++) {
      await context.pass(1_000)
      onBytes(1)
    }
  })
  world.served.set('https://models.example/a', 'content')
  await bringModels(context, world.open, [modelOf('a', 'content')], { command: 'me', isPatient: true })
  expect(world.lock).toEqual({ taken: 1, touched: 3, released: 1 })
})

it('many models are written to the index a few times, not once each', async () => {
  const { context, world, bring, index } = machine()
  const models = Array.from({ length: 500 }, (_, at) => modelOf(`m${at}`, `content ${at}`))
  for (const [at, { url }] of models.entries()) world.served.set(url ?? '', `content ${at}`)
  const { writeText } = context.host.files
  let writes = 0
  context.host.files.writeText = async (path, text, options) => {
    if (path === '/w/models.json') {
      writes += 1
      expect(options).toEqual({ durable: true })
    }
    await writeText(path, text, options)
  }
  await bring(models)
  expect([Object.keys(index()).length, writes]).toEqual([500, expect.toSatisfy((count: number) => count <= 3)])
})
