import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NO_ROLLOUT, type RejectedGeneration, type RolloutRecord } from '../../../src/plan/pointers.ts'
import { pin, prove, reject } from '../../../src/plan/rollout-record.ts'
import {
  courseOf,
  type GpuStanding,
  planRollout,
  type RolloutFacts,
  type RolloutRequest,
  type RolloutStep,
} from '../../../src/rollout/plan-rollout.ts'

/** A host that rollouts are played on: what links, the record file and systemd keep when the controller is killed. */
interface World {
  current: string
  next: string | undefined
  record: RolloutRecord
  request: RolloutRequest | undefined
  isOpen: boolean
  gpus: { name: string; generation: string; standing: GpuStanding }[]
}

const NAMES = ['gpu0', 'gpu1', 'gpu2']

function worldOf(changes: Partial<World> = {}, names = NAMES): World {
  const gpus = names.map((name) => ({ name, generation: 'a', standing: 'up' as const }))
  const record: RolloutRecord = { ...NO_ROLLOUT, proven: ['a'] }
  return { current: 'a', next: 'b', record, request: undefined, isOpen: false, gpus, ...changes }
}

function why(gpu: string, atUs = 100): RejectedGeneration {
  return { atUs, gpu, unit: `comfyui@${gpu}.service`, code: 'CM1902', message: 'node-alpha', lines: [] }
}

function factsOf(world: World): RolloutFacts {
  return {
    ...world,
    gpus: world.gpus.map((gpu) => (gpu.standing === 'failed' ? { ...gpu, failure: why(gpu.name) } : { ...gpu })),
  }
}

/** What a step leaves behind; `fails` tells of which generations ComfyUI does not come up, by GPU or on all. */
function play(world: World, step: RolloutStep, fails: (generation: string, gpu: string) => boolean): void {
  const gpu = world.gpus.find(({ name }) => 'gpu' in step && name === step.gpu)
  if (step.kind !== 'idle' && step.kind !== 'forget-next' && courseOf(factsOf(world)) !== undefined) world.isOpen = true
  if (step.kind === 'record') world.record = step.record
  if (step.kind === 'make-current') world.current = step.generation
  if (step.kind === 'forget-next') world.next = undefined
  if (step.kind === 'idle' || step.kind === 'forget-next') world.isOpen = false
  if (gpu === undefined) return
  if (step.kind === 'stop') gpu.standing = 'down'
  if (step.kind === 'start') gpu.standing = 'changing'
  if (step.kind === 'wait' && gpu.standing === 'changing')
    gpu.standing = fails(gpu.generation, gpu.name) ? 'failed' : 'up'
  if (step.kind === 'point') {
    expect(gpu.standing, 'a pointer is changed only while nothing runs by it').toBe('down')
    gpu.generation = step.goal
  }
}

/** Plays until nothing is to be done; tells the steps in short. */
function playOut(world: World, fails: (generation: string, gpu: string) => boolean = () => false): readonly string[] {
  const told: string[] = []
  for (let turn = 0; turn < 100; turn += 1) {
    const step = planRollout(factsOf(world))
    play(world, step, fails)
    if (step.kind === 'idle') return told
    if (step.kind !== 'wait') told.push(tell(step))
  }
  throw new Error(`it does not end: ${told.join(', ')}`)
}

function tell(step: RolloutStep): string {
  if (step.kind === 'record') return step.why
  if (step.kind === 'forget-next') return step.end
  if (step.kind === 'point') return `${step.gpu}=${step.goal}`
  return 'gpu' in step ? `${step.kind} ${step.gpu}` : step.kind
}

const broken = (generation: string): boolean => generation === 'b'

describe('a rollout', () => {
  test('goes to the canary first, and to the others one by one', () => {
    const world = worldOf()
    expect(playOut(world)).toEqual([
      ...['stop gpu0', 'gpu0=b', 'start gpu0', 'proven', 'stop gpu1', 'gpu1=b', 'start gpu1'],
      ...['stop gpu2', 'gpu2=b', 'start gpu2', 'settled', 'make-current', 'done'],
    ])
    expect(world).toMatchObject({ current: 'b', next: undefined, record: { proven: ['a', 'b'], previous: 'a' } })
  })

  test('is sent back by the canary, and nothing else is touched', () => {
    const world = worldOf()
    expect(playOut(world, broken)).toEqual([
      ...['stop gpu0', 'gpu0=b', 'start gpu0', 'rejected', 'stop gpu0', 'gpu0=a', 'start gpu0', 'sent-back'],
    ])
    expect(world.record).toEqual({ ...NO_ROLLOUT, proven: ['a'], rejected: { b: why('gpu0') } })
  })

  test('is sent back from every GPU by a later one', () => {
    const world = worldOf()
    const told = playOut(world, (generation, gpu) => generation === 'b' && gpu === 'gpu1')
    expect(told.slice(-8)).toEqual([
      ...['rejected', 'stop gpu1', 'gpu1=a', 'start gpu1', 'stop gpu0', 'gpu0=a', 'start gpu0', 'sent-back'],
    ])
    expect(world.record).toMatchObject({ proven: ['a'], rejected: { b: { gpu: 'gpu1' } } })
  })

  test('ends also when the generation before does not come up again', () => {
    const world = worldOf()
    expect(playOut(world, (_, gpu) => gpu === 'gpu0').at(-1)).toBe('sent-back')
    expect(world.gpus.map(({ generation }) => generation)).toEqual(['a', 'a', 'a'])
  })

  test('waits while the worker of a GPU that it moved has failed', () => {
    const world = worldOf()
    for (let step = planRollout(factsOf(world)); step.kind !== 'wait'; step = planRollout(factsOf(world)))
      play(world, step, () => false)
    const gpus = factsOf(world).gpus.map((gpu) => (gpu.name === 'gpu0' ? { ...gpu, standing: 'held' as const } : gpu))
    expect(planRollout({ ...factsOf(world), gpus })).toEqual({ kind: 'wait', gpu: 'gpu0', goal: 'b', isHeld: true })
  })

  test('starts a worker that nobody has started', () => {
    const world = worldOf()
    world.gpus[0] = { name: 'gpu0', generation: 'b', standing: 'idle' }
    expect(planRollout(factsOf(world))).toEqual({ kind: 'start', gpu: 'gpu0', goal: 'b' })
    world.gpus[0] = { name: 'gpu0', generation: 'a', standing: 'idle' }
    expect(planRollout(factsOf(world))).toEqual({ kind: 'stop', gpu: 'gpu0', goal: 'b' })
  })

  test('is refused when it was sent back before, until an update is asked for', () => {
    const record = reject(worldOf().record, 'b', why('gpu0'))
    expect(playOut(worldOf({ record }))).toEqual(['refused'])
    const request = { schema: 1, kind: 'update', generation: null, atUs: 101 } as const
    expect(playOut(worldOf({ record, request: { ...request, atUs: 99 } }))).toEqual(['refused'])
    const world = worldOf({ record, request })
    expect(playOut(world).at(-1)).toBe('done')
    expect(world.record).toMatchObject({ proven: ['a', 'b'], rejected: {} })
  })

  test('that is a rollback holds the machine, and one back to what it wants does not', () => {
    const request = { schema: 1, kind: 'rollback', generation: 'b', atUs: 1 } as const
    const world = worldOf({ request, record: prove(prove(NO_ROLLOUT, 'b'), 'a') })
    expect(playOut(world)).toEqual(expect.arrayContaining(['asked', 'settled', 'done']))
    expect(world.record).toMatchObject({ previous: 'a', pinned: { generation: 'b', wish: 'a' } })
    world.next = 'a'
    world.request = { ...request, generation: 'a' }
    playOut(world)
    expect(world).toMatchObject({ current: 'a', record: { previous: 'b', proven: ['b', 'a'] } })
    expect(world.record.pinned).toBeUndefined()
  })

  test('that is no rollback ends one', () => {
    const world = worldOf({ record: pin(worldOf().record, 'a', 'c') })
    playOut(world)
    expect(world.record.pinned).toBeUndefined()
  })

  test('of a machine without one is none: what runs everywhere has proved itself', () => {
    const world = worldOf({ next: undefined, record: NO_ROLLOUT })
    expect(playOut(world)).toEqual(['settled'])
    expect(world.record.proven).toEqual(['a'])
    expect(planRollout({ ...factsOf(world), current: undefined })).toEqual({ kind: 'idle' })
  })

  test('without its request leaves no GPU on a generation of its own', () => {
    const world = worldOf({ next: undefined })
    world.gpus[1] = { name: 'gpu1', generation: 'c', standing: 'up' }
    expect(playOut(world)).toEqual(['stop gpu1', 'gpu1=a', 'start gpu1'])
  })

  test('does not restart a GPU that is stopped when nothing is rolled out', () => {
    const world = worldOf({ next: undefined })
    world.gpus[1] = { name: 'gpu1', generation: 'a', standing: 'down' }
    expect(playOut(world)).toEqual([])
  })
})

describe('a controller that is killed', () => {
  const scenarios = fc.record({
    gpus: fc.integer({ min: 1, max: 4 }),
    failing: fc.constantFrom('none', 'all', 'gpu0', 'gpu1'),
    isKnown: fc.boolean(),
    isRollback: fc.boolean(),
    kills: fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 4 }),
    losesState: fc.boolean(),
  })

  test('at any step leaves what its successor ends in the same way', () => {
    fc.assert(
      fc.property(scenarios, ({ gpus, failing, isKnown, isRollback, kills, losesState }) => {
        const names = Array.from({ length: gpus }, (_, index) => `gpu${index}`)
        const fails = (generation: string, gpu: string): boolean =>
          generation === 'b' && (failing === 'all' || failing === gpu)
        const request: RolloutRequest = { schema: 1, kind: 'rollback', generation: 'b', atUs: 1 }
        const begin = (): World =>
          worldOf(
            {
              ...(isKnown ? { record: { ...NO_ROLLOUT, proven: ['b', 'a'] } } : {}),
              ...(isRollback ? { request } : {}),
            },
            names,
          )
        const whole = begin()
        playOut(whole, fails)
        const world = begin()
        for (let turn = 0, step = planRollout(factsOf(world)); turn < 100; turn += 1) {
          play(world, step, fails)
          // Killed: the last word of the state may be older than the step.
          if (kills.includes(turn) && losesState) world.isOpen = false
          if (kills.includes(turn) && step.kind === 'start')
            for (const gpu of world.gpus)
              if (gpu.standing === 'changing') gpu.standing = fails(gpu.generation, gpu.name) ? 'failed' : 'up'
          step = planRollout(factsOf(world))
          if (step.kind === 'idle') break
          expect(world.gpus.filter(({ standing }) => standing === 'down').length).toBeLessThanOrEqual(1)
        }
        expect(world).toEqual({ ...whole, isOpen: world.isOpen })
        expect(new Set(world.gpus.map(({ generation }) => generation))).toEqual(new Set([world.current]))
      }),
      { numRuns: 2000 },
    )
  })
})
