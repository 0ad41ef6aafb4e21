import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Files, Manager, ManagerEvent, UnitSnapshot } from '../../../src/host/ports.ts'
import { Follower } from '../../../src/observe/follow.ts'
import { type Machine, stepState } from '../../../src/observe/machine.ts'
import { activating, active, at, failed, invocationOf, planned, restarting, unitOf } from './build-machine.ts'

const NODES = 'comfy-install-nodes.service'
const MODELS = 'comfy-install-models.service'

/** A follower of two units over a manager whose events and answers the test gives. */
function follow(
  initial: readonly UnitSnapshot[],
  texts: Pick<ReadonlyMap<string, string>, 'get'> = new Map(),
  units = [NODES, MODELS],
) {
  let tell: (event: ManagerEvent) => void = () => undefined
  let machine: Machine = planned()
  let snapshots = initial
  const asked: string[][] = []
  const problems: unknown[] = []
  const reads: string[] = []
  const manager = {
    follow: (listener: (event: ManagerEvent) => void) => {
      tell = listener
      return () => {
        tell = () => undefined
      }
    },
    snapshots: async (names: readonly string[]) => {
      asked.push([...names])
      return names.map((name) => snapshots.find((unit) => unit.name === name) ?? unitOf(name))
    },
    load: async () => snapshots,
  }
  const files = {
    readForeign: async (file: string) => {
      reads.push(file)
      return texts.get(file)
    },
  }
  const follower = new Follower(
    {
      manager: manager as unknown as Manager,
      files: files as unknown as Files,
      reports: '/run/c',
      fold: (apply) => {
        machine = apply(machine).machine
      },
      machine: () => machine,
      nowUs: () => at(99),
      onProblem: (problem) => void problems.push(problem),
    },
    units,
  )
  follower.start()
  const become = (...units: readonly UnitSnapshot[]): void => {
    snapshots = units
  }
  return {
    follower,
    problems,
    reads,
    asked,
    become,
    tell: (event: ManagerEvent) => tell(event),
    machine: () => machine,
  }
}

const outcomesOf = (machine: Machine) => [NODES, MODELS].map((name) => machine.outcomes.get(name))

describe('Follower', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })

  afterEach(() => {
    vi.useRealTimers()
  })

  test('folds every change in order, with the report where a unit came to an end', async () => {
    const report = {
      kind: 'failure',
      atUs: at(2),
      attempt: 1,
      code: 'CM1701',
      type: 'git_failed',
      message: 'm',
      hint: 'h',
    }
    const text = [{ kind: 'begin', invocationId: invocationOf(NODES) }, report].map(
      (line) => `${JSON.stringify(line)}\n`,
    )
    const { follower, tell, machine, reads } = follow(
      [],
      new Map([['/run/c/comfy-install-nodes/report.ndjson', text.join('')]]),
    )
    tell({ kind: 'unit', unit: failed(NODES, 1, 2) })
    tell({ kind: 'job-removed', unit: MODELS, jobId: 1, result: 'dependency', atUs: at(3) })
    tell({ kind: 'unit', unit: active('ssh.service', 1, 2) })
    await follower.settled()
    expect(machine().state.failing).toMatchObject([{ code: 'CM1701', unit: NODES }])
    expect(machine().outcomes.get(MODELS)).toBe('blocked')
    expect(reads).toEqual(['/run/c/comfy-install-nodes/report.ndjson'])
    follower.stop()
  })

  test.each([{ kind: 'up' }, { kind: 'reloading', active: false, atUs: at(3) }] as const)(
    'looks at every unit anew after $kind',
    async (event) => {
      const { follower, tell, machine } = follow([active(NODES, 1, 2), unitOf(MODELS)])
      tell({ kind: 'down', reason: 'the bus is gone' })
      await follower.settled()
      expect(stepState(machine(), 17).state).toBe('pending')
      tell(event)
      await vi.advanceTimersByTimeAsync(150)
      await follower.settled()
      expect(stepState(machine(), 17).state).toBe('done')
      follower.stop()
    },
  )

  test('reads anew what a unit goes on without when systemd has started it again', async () => {
    const shortfall = { kind: 'shortfall', component: 'custom node a' }
    const failure = { code: 'CM1701', type: 'git_failed', message: 'm', hint: 'h' }
    const textOf = (invocationId: string, ...lines: readonly object[]): string =>
      [{ kind: 'begin', invocationId }, ...lines].map((line) => `${JSON.stringify(line)}\n`).join('')
    const file = '/run/c/comfy-install-nodes/report.ndjson'
    const texts = new Map([[file, textOf(invocationOf(NODES), { ...shortfall, failure })]])
    const { follower, tell, machine } = follow([], texts)
    const codes = (): readonly string[] => machine().state.shortfalls.map(({ code }) => code)
    tell({ kind: 'unit', unit: active(NODES, 1, 2) })
    await follower.settled()
    expect(codes()).toEqual(['CM1701'])
    tell({ kind: 'unit', unit: restarting(NODES, 1, 3) })
    await follower.settled()
    expect(codes()).toEqual([])
    const second = invocationOf(NODES, 2)
    texts.set(file, textOf(second, { ...shortfall, failure: { ...failure, code: 'CM1702' } }))
    tell({ kind: 'unit', unit: active(NODES, 4, 5, { invocationId: second }) })
    await follower.settled()
    expect(codes()).toEqual(['CM1702'])
    follower.stop()
  })

  test('counts what systemd says also when the report cannot be read', async () => {
    const { follower, tell, machine, problems } = follow([], {
      get: (file) => {
        if (file.includes('comfy-install-nodes')) throw new Error('a link')
        return undefined
      },
    })
    tell({ kind: 'unit', unit: active(NODES, 1, 2) })
    tell({ kind: 'unit', unit: active(MODELS, 1, 2) })
    await follower.settled()
    expect(problems).toHaveLength(1)
    expect([17, 18].map((number) => stepState(machine(), number).state)).toEqual(['done', 'done'])
    follower.stop()
  })

  test('looks once after many reloads at once', async () => {
    const { follower, tell, asked } = follow([active(NODES, 1, 2), active(MODELS, 1, 2)])
    for (let reload = 0; reload < 5; reload += 1) {
      tell({ kind: 'reloading', active: true, atUs: at(3) })
      tell({ kind: 'reloading', active: false, atUs: at(3) })
      await vi.advanceTimersByTimeAsync(20)
    }
    await vi.advanceTimersByTimeAsync(200)
    expect(asked).toEqual([[NODES, MODELS]])
    follower.stop()
  })

  test('judges what the end of a job said while nobody listened', async () => {
    const target = unitOf('comfy-machine.target', { activeState: 'active', inactiveExitUs: at(1), conditionUs: at(1) })
    const skipped = unitOf(MODELS, { conditionResult: false, conditionUs: at(2) })
    const { follower, tell, machine } = follow([target, failed(NODES, 1, 2), skipped])
    tell({ kind: 'up' })
    await vi.advanceTimersByTimeAsync(0)
    expect(outcomesOf(machine())).toEqual(['failed', 'skipped'])
    follower.stop()
  })

  test('takes a start job that it finds for one that was queued', async () => {
    const comfyui = ['comfyui@gpu0.service', 'comfyui@gpu1.service']
    const { follower, tell, machine } = follow(
      comfyui.map((name) => unitOf(name, { jobId: 3 })),
      new Map(),
      comfyui,
    )
    tell({ kind: 'up' })
    await vi.advanceTimersByTimeAsync(0)
    expect(stepState(machine(), 13)).toMatchObject({ state: 'done', endUs: at(99) })
    follower.stop()
  })

  test('judges nobody before the start of the machine was asked for', async () => {
    const { follower, tell, machine, become } = follow([unitOf(NODES), unitOf(MODELS)])
    tell({ kind: 'up' })
    await vi.advanceTimersByTimeAsync(0)
    expect(outcomesOf(machine())).toEqual(['pending', 'pending'])
    become(unitOf('comfy-machine.target', { jobId: 4 }))
    await follower.resync()
    expect(outcomesOf(machine())).toEqual(['pending', 'pending'])
    tell({ kind: 'up' })
    await vi.advanceTimersByTimeAsync(0)
    expect(outcomesOf(machine())).toEqual(['blocked', 'blocked'])
    follower.stop()
  })

  test('finds within 30 seconds what no signal told, and reads only what changed', async () => {
    const { follower, machine, asked, become } = follow([active(NODES, 1, 2), active(MODELS, 1, 2)])
    await follower.resync()
    asked.length = 0
    await vi.advanceTimersByTimeAsync(30_000)
    expect(asked).toEqual([])
    become(active(NODES, 1, 2), failed(MODELS, 1, 20))
    await vi.advanceTimersByTimeAsync(30_000)
    expect(asked).toEqual([[MODELS]])
    expect(outcomesOf(machine())).toEqual(['active', 'failed'])
    follower.stop()
  })

  test('does not go back to what was told before a unit was read', async () => {
    const { follower, tell, machine } = follow([active(NODES, 1, 2), unitOf(MODELS)])
    tell({ kind: 'up' })
    tell({ kind: 'unit', unit: unitOf(NODES, { jobId: 7 }) })
    tell({ kind: 'unit', unit: activating(NODES, 1) })
    await vi.advanceTimersByTimeAsync(0)
    expect(machine().outcomes.get(NODES)).toBe('active')
    expect(machine().state.failing).toEqual([])
    follower.stop()
  })

  describe('the progress of a step', () => {
    const FILE = '/run/c/comfy-install-models/progress.json'
    const textOf = (done: number, invocationId = invocationOf(MODELS)): string =>
      JSON.stringify({ invocationId, done, total: 3, bytes: 7, current: ['a'] })
    const saying = (statusText: string): ManagerEvent => {
      return { kind: 'unit', unit: activating(MODELS, 1, { statusText }) }
    }

    test('is read when the unit says something else, and gone when the step ends', async () => {
      const texts = new Map([[FILE, textOf(1)]])
      const { follower, tell, machine, reads } = follow([], texts)
      const shown = async (event: ManagerEvent) => {
        tell(event)
        await follower.settled()
        return stepState(machine(), 18).progress
      }
      expect(await shown(saying(''))).toBeUndefined()
      expect(reads).toEqual([])
      expect(await shown(saying('one'))).toEqual({ done: 1, total: 3, bytes: 7, current: ['a'] })
      texts.set(FILE, textOf(2))
      expect(await shown(saying('one'))).toMatchObject({ done: 1 })
      expect(await shown(saying('two'))).toMatchObject({ done: 2 })
      expect(reads).toEqual([FILE, FILE])
      expect(await shown({ kind: 'unit', unit: active(MODELS, 1, 4, { statusText: 'all' }) })).toBeUndefined()
      expect(stepState(machine(), 18)).not.toHaveProperty('progress')
      follower.stop()
    })

    test('is gone when the unit fails or waits for another start', async () => {
      for (const end of [failed(MODELS, 1, 3), restarting(MODELS, 1, 3)]) {
        const { follower, tell, machine } = follow([], new Map([[FILE, textOf(1)]]))
        tell(saying('one'))
        await follower.settled()
        expect(stepState(machine(), 18).progress).toBeDefined()
        tell({ kind: 'unit', unit: end })
        await follower.settled()
        expect(stepState(machine(), 18)).not.toHaveProperty('progress')
        follower.stop()
      }
    })

    test('of an earlier run is not shown', async () => {
      const { follower, tell, machine } = follow([], new Map([[FILE, textOf(1, 'another')]]))
      tell(saying('one'))
      await follower.settled()
      expect(stepState(machine(), 18)).toMatchObject({ state: 'running', detail: 'one' })
      expect(stepState(machine(), 18)).not.toHaveProperty('progress')
      follower.stop()
    })

    test('that cannot be read is told once and stops nothing', async () => {
      const { follower, tell, machine, problems } = follow([], {
        get: () => {
          throw new Error('a link')
        },
      })
      tell(saying('one'))
      tell(saying('two'))
      await follower.settled()
      expect(problems).toHaveLength(1)
      expect(stepState(machine(), 18).detail).toBe('two')
      follower.stop()
    })
  })

  test('is silent after stop', async () => {
    const { follower, tell, machine } = follow([])
    follower.stop()
    tell({ kind: 'unit', unit: active(NODES, 1, 2) })
    await follower.settled()
    expect(stepState(machine(), 17).state).toBe('pending')
  })
})
