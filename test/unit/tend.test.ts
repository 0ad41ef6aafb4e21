import { describe, expect, test } from 'vitest'
import { statusText } from '../../src/emit/status-text.ts'
import { judge } from '../../src/health/standing.ts'
import type { UnitSnapshot } from '../../src/host/ports.ts'
import { foldJobRemoved } from '../../src/observe/fold-job.ts'
import { enterPhase } from '../../src/observe/fold-step.ts'
import { foldUnit } from '../../src/observe/fold-unit.ts'
import { type Machine, stepState } from '../../src/observe/machine.ts'
import { isWhole } from '../../src/tend.ts'
import {
  active,
  at,
  changed,
  failed,
  failingAt,
  foldAll,
  invocationOf,
  planned,
  restarting,
} from './observe/build-machine.ts'

const UNITS = ['comfyui@gpu0.service', 'redis-worker@gpu0.service', 'comfyui@gpu1.service', 'redis-worker@gpu1.service']

/** A machine whose units are active, and of which a rollout moves a GPU. */
function movingMachine(gpu: string | null, gpus = 2): Machine {
  const from = planned(gpus)
  const up = foldAll(
    from,
    [...from.outcomes.keys()].map((name) => (machine: Machine) => foldUnit(machine, active(name, 1, 2), [])),
  ).machine
  const rollout = { generation: 'b', direction: 'forward' as const, startUs: at(9), gpu, sinceUs: null, moves: [] }
  const generations = { current: 'a', previous: null, gpus: {}, rollout, rejected: null }
  return { ...up, state: { ...up.state, generations } }
}

const readyMachine = (gpu: string | null, gpus = 2): Machine =>
  enterPhase(movingMachine(gpu, gpus), 'ready', at(5)).machine
const stopped = (name: string, changes: Partial<UnitSnapshot> = {}): UnitSnapshot =>
  changed(active(name, 1, 2), {
    activeState: 'inactive',
    subState: 'dead',
    mainPid: 0,
    exitCode: 1,
    inactiveEnterUs: at(10),
    ...changes,
  })
const stop = (machine: Machine, gpu: string) =>
  foldAll(
    machine,
    [`redis-worker@${gpu}.service`, `comfyui@${gpu}.service`].map(
      (name) => (each) => foldUnit(each, stopped(name), []),
    ),
  )

describe('a unit that a rollout stops', () => {
  test('has not failed, and is not told of when it is back', () => {
    const { machine, happenings } = stop(readyMachine('gpu0'), 'gpu0')
    expect(happenings).toEqual([])
    expect(machine.state.failing).toEqual([])
    const back = foldUnit(machine, active('comfyui@gpu0.service', 11, 12, { invocationId: invocationOf('x', 2) }), [])
    expect(back.happenings).toEqual([])
    expect(back.machine.outcomes.get('comfyui@gpu0.service')).toBe('active')
  })

  test('has failed when it is of another GPU', () => {
    expect(stop(readyMachine('gpu0'), 'gpu1').machine.state.failing.map(({ unit }) => unit)).toEqual([
      'redis-worker@gpu1.service',
      'comfyui@gpu1.service',
    ])
  })

  test('has not come to its end in a start', () => {
    const { machine } = stop(movingMachine('gpu1'), 'gpu1')
    const after = foldJobRemoved(machine, 'comfyui@gpu1.service', 'done', at(10)).machine
    expect(after.outcomes.get('comfyui@gpu1.service')).toBe('pending')
  })
})

describe('a canary that fails in a start', () => {
  const rolledOut = (gpu: string | null): Machine => {
    const from = planned()
    return { ...from, state: { ...from.state, generations: { ...movingMachine(gpu).state.generations } as never } }
  }

  test('fails its attempt, and not the step', () => {
    const { machine, happenings } = foldUnit(rolledOut('gpu0'), failed('comfyui@gpu0.service', 1, 2), [])
    expect(happenings.map(({ kind }) => kind)).toEqual(['attempt-failed'])
    expect(machine.outcomes.get('comfyui@gpu0.service')).toBe('failed')
    expect(stepState(machine, 19).state).not.toBe('failed')
    const worker = foldJobRemoved(machine, 'redis-worker@gpu0.service', 'dependency', at(3))
    expect(worker.happenings).toEqual([])
    expect(worker.machine.outcomes.get('redis-worker@gpu0.service')).toBe('blocked')
  })

  test('fails the step when there is no rollout', () => {
    const { machine } = foldUnit(rolledOut(null), failed('comfyui@gpu0.service', 1, 2), [])
    expect(stepState(machine, 19).state).toBe('failed')
  })
})

describe('isWhole', () => {
  test('does not miss a GPU that is moved while another one serves', () => {
    expect(isWhole(stop(readyMachine('gpu0'), 'gpu0').machine)).toBe(true)
    expect(isWhole(stop(readyMachine('gpu0', 1), 'gpu0').machine)).toBe(false)
    expect(isWhole(stop(readyMachine(null), 'gpu0').machine)).toBe(false)
  })

  test('does not miss a canary that fails, and misses everything else', () => {
    const canary = foldUnit(readyMachine('gpu0'), restarting('comfyui@gpu0.service', 11, 12), []).machine
    expect(canary.state.failing).toHaveLength(1)
    expect(isWhole(canary)).toBe(true)
    const other = foldUnit(canary, restarting('comfyui@gpu1.service', 11, 12), []).machine
    expect(isWhole(other)).toBe(false)
  })

  test('of a machine without a rollout is every unit', () => {
    for (const name of UNITS) {
      const machine = readyMachine(null)
      expect(isWhole(machine)).toBe(true)
      expect(isWhole(foldUnit(machine, stopped(name), []).machine), name).toBe(false)
    }
  })
})

describe('what is said of a machine', () => {
  const said = (machine: Machine) => judge({ state: machine.state, alive: true })

  test('that moves a GPU', () => {
    const machine = readyMachine('gpu0')
    expect(said(machine)).toMatchObject({ ready: true, reason: 'gpu0 is being moved to generation b' })
    expect(statusText(machine)).toBe('ready: gpu0 is being moved to generation b')
  })

  test('that moves its only GPU', () => {
    const machine = enterPhase(stop(readyMachine('gpu0', 1), 'gpu0').machine, 'degraded', at(11)).machine
    expect(said(machine)).toMatchObject({
      ready: false,
      reason: 'the machine was ready and is not now: gpu0 is being moved to generation b',
    })
    const failing = { ...machine, state: { ...machine.state, failing: [failingAt({ step: 19, code: 'CM1902' })] } }
    expect(said(failing).reason).toContain('CM1902')
  })
})
