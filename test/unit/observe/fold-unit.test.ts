import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { UnitSnapshot } from '../../../src/host/ports.ts'
import { endStep, enterPhase, type Folded } from '../../../src/observe/fold-step.ts'
import { foldJobNew, foldJobRemoved, foldMissedJob, foldUnit } from '../../../src/observe/fold-unit.ts'
import { type Happening, type Machine, stepState } from '../../../src/observe/machine.ts'
import type { ReportLine } from '../../../src/report.ts'
import {
  activating,
  active,
  at,
  failed,
  foldAll,
  invocationOf,
  planned,
  reportOf,
  restarting,
  unitOf,
} from './build-machine.ts'

const NODES = 'comfy-install-nodes.service'
const MODELS = 'comfy-install-models.service'
const DISCOVER = 'comfy-discover.service'
const HEALTH = 'comfy-health.service'
const COMFY0 = 'comfyui@gpu0.service'
const COMFY1 = 'comfyui@gpu1.service'
const WORKER0 = 'redis-worker@gpu0.service'

const see =
  (unit: UnitSnapshot, report: readonly ReportLine[] = []) =>
  (machine: Machine): Folded =>
    foldUnit(machine, unit, report)
const queued =
  (unit: string, seconds: number) =>
  (machine: Machine): Folded =>
    foldJobNew(machine, unit, at(seconds))
const jobEnded =
  (unit: string, result: string, seconds: number) =>
  (machine: Machine): Folded =>
    foldJobRemoved(machine, unit, result, at(seconds))
const becomeReady = (machine: Machine): Folded => enterPhase(machine, 'ready', at(60))

const endsOf = (happenings: readonly Happening[]): readonly string[] =>
  happenings.flatMap((each) =>
    each.kind === 'step-ended'
      ? [`${each.step.number} ${each.step.state} ${secondsOf(each.step.startUs)}–${secondsOf(each.step.endUs)}`]
      : [],
  )
const secondsOf = (us: number | undefined): number | undefined => (us === undefined ? us : (us - at(0)) / 1_000_000)
const attemptsOf = (happenings: readonly Happening[]): readonly Extract<Happening, { kind: 'attempt-failed' }>[] =>
  happenings.filter((each) => each.kind === 'attempt-failed')

describe('a step of one unit', () => {
  test('runs while the unit starts and is done when it is active, at systemd’s own times', () => {
    const running = foldAll(planned(), [see(activating(NODES, 1, { statusText: '2 of 3 nodes' }))])
    expect(running.happenings).toEqual([])
    expect(stepState(running.machine, 17)).toMatchObject({ state: 'running', startUs: at(1), detail: '2 of 3 nodes' })
    const done = foldAll(running.machine, [see(active(NODES, 1, 4.25))])
    expect(endsOf(done.happenings)).toEqual(['17 done 1–4.25'])
    expect(done.machine.outcomes.get(NODES)).toBe('active')
    expect(done.machine.state.step).toBe(17)
  })

  test('is told once, however often a snapshot comes', () => {
    const up = see(active(NODES, 1, 4))
    expect(endsOf(foldAll(planned(), [up, up, see(activating(MODELS, 2)), up]).happenings)).toEqual(['17 done 1–4'])
  })

  test('is told exactly when only its end was seen', () => {
    expect(endsOf(foldAll(planned(), [see(active(NODES, 1, 4))]).happenings)).toEqual(['17 done 1–4'])
  })

  test('is not done by a unit that an earlier start left active', () => {
    const { machine, happenings } = foldAll(planned(), [see(active(HEALTH, -50, -49))])
    expect(happenings).toEqual([])
    expect(machine.outcomes.get(HEALTH)).toBe('pending')
  })

  test('takes evidence and children from the report of its process', () => {
    const child = {
      kind: 'child',
      name: 'node a',
      startUs: at(1),
      endUs: at(2),
      state: 'done',
      attributes: {},
    } as const
    const report = reportOf(invocationOf(NODES), child, { kind: 'fact', attributes: { 'nodes.installed': 4 } })
    const { machine, happenings } = foldAll(planned(), [see(active(NODES, 1, 4), report)])
    expect(happenings[0]).toMatchObject({ kind: 'step-ended', children: [{ name: 'node a' }] })
    expect(stepState(machine, 17).attributes).toEqual({ 'nodes.installed': 4 })
    expect(machine.state.evidence).toEqual({ 'nodes.installed': 4 })
  })

  test('a unit that is not wanted tells nothing', () => {
    const before = planned()
    expect(foldUnit(before, active('ssh.service', 1, 2), [])).toEqual({ machine: before, happenings: [] })
  })
})

test('step 15 is told by the report of the discovery, step 16 by its unit', () => {
  const report = reportOf(invocationOf(DISCOVER), {
    kind: 'step',
    step: 15,
    startUs: at(1.1),
    endUs: at(1.5),
    attributes: { 'api.url': 'https://a.test' },
  })
  const { machine, happenings } = foldAll(planned(), [see(active(DISCOVER, 1, 3), report)])
  expect(endsOf(happenings)).toEqual(['15 done 1.1–1.5', '16 done 1–3'])
  expect(stepState(machine, 15).attributes).toEqual({ 'api.url': 'https://a.test' })
})

describe('a step of every GPU', () => {
  test('is done with its last instance and spans from the first start to the last end', () => {
    const first = foldAll(planned(), [see(active(COMFY0, 5, 9))])
    expect(first.happenings).toEqual([])
    expect(stepState(first.machine, 19).instances.map(({ state }) => state)).toEqual(['done', 'pending'])
    const second = foldAll(first.machine, [see(activating(COMFY1, 4)), see(active(COMFY1, 4, 8))])
    expect(endsOf(second.happenings)).toEqual(['19 done 4–9'])
  })

  test('step 13 is done when every start job is queued', () => {
    const { happenings } = foldAll(planned(), [queued(COMFY1, 2), queued('other.service', 2), queued(COMFY0, 2.5)])
    expect(endsOf(happenings)).toEqual(['13 done 2–2.5'])
  })

  test('a start job after step 21 tells nothing', () => {
    const ready = foldAll(planned(), [becomeReady]).machine
    expect(foldAll(ready, [queued(COMFY0, 70), queued(COMFY1, 70)]).happenings).toEqual([])
  })
})

describe('a condition that says no', () => {
  const skippedUnit = unitOf(MODELS, { conditionResult: false, conditionUs: at(2) })

  test('makes the step skipped, though systemd calls its job done', () => {
    const { machine, happenings } = foldAll(planned(), [see(skippedUnit), jobEnded(MODELS, 'done', 2.1)])
    expect(endsOf(happenings)).toEqual(['18 skipped 2–2'])
    expect(machine.outcomes.get(MODELS)).toBe('skipped')
  })

  test('of an earlier start means nothing', () => {
    const old = { ...skippedUnit, conditionUs: at(-9) }
    expect(foldAll(planned(), [see(old), jobEnded(MODELS, 'done', 2.1)]).happenings).toEqual([])
  })

  test('is not what a unit has that started', () => {
    const { happenings } = foldAll(planned(), [see(active(MODELS, 1, 2)), jobEnded(MODELS, 'done', 2.1)])
    expect(endsOf(happenings)).toEqual(['18 done 1–2'])
  })
})

describe('a failed unit', () => {
  const said = { kind: 'failure', atUs: at(3), attempt: 1, code: 'CM1804', type: 'checksum_mismatch' } as const
  const words = { message: 'ae.safetensors: sha256 is 3f, expected 9a', hint: 'Correct the hash.' }

  test('fails its step with the last words of its process', () => {
    const report = reportOf(invocationOf(MODELS), { ...said, ...words })
    const { machine, happenings } = foldAll(planned(), [see(failed(MODELS, 1, 3), report)])
    expect(happenings.map(({ kind }) => kind)).toEqual(['attempt-failed', 'step-ended'])
    expect(endsOf(happenings)).toEqual(['18 failed 1–3'])
    expect(machine.state.failing).toMatchObject([
      { step: 18, code: 'CM1804', unit: MODELS, attempt: 1, atUs: at(3), ...words },
    ])
    expect(machine.outcomes.get(MODELS)).toBe('failed')
  })

  test('is described by systemd when the report is of another invocation', () => {
    const report = reportOf('f'.repeat(32), { ...said, ...words })
    const { machine } = foldAll(planned(), [see(failed(MODELS, 1, 3), report)])
    expect(machine.state.failing).toMatchObject([
      { code: 'CM1890', type: 'process_exit', message: `${MODELS} exited with status 1` },
    ])
  })

  test.each([
    ['signal', { exitStatus: 11 }, 'process_signal', 'was killed by signal 11'],
    ['oom-kill', {}, 'oom_kill', 'was killed because the host ran out of memory'],
    ['timeout', {}, 'start_timeout', 'did not start in time'],
    ['watchdog', {}, 'watchdog', 'missed its watchdog'],
    ['resources', {}, 'exec_failed', 'failed: resources'],
  ] as const)('by %s has the type of it', (result, changes, type, words) => {
    const { machine } = foldAll(planned(), [see(failed(MODELS, 1, 3, { result, ...changes }))])
    expect(machine.state.failing).toMatchObject([{ code: 'CM1890', type, message: `${MODELS} ${words}` }])
  })

  test('of an earlier start is not of this one', () => {
    const { machine, happenings } = foldAll(planned(), [see(failed(MODELS, -20, -10))])
    expect(happenings).toEqual([])
    expect(machine.outcomes.get(MODELS)).toBe('pending')
  })

  test('is told once, however often a snapshot comes', () => {
    const down = see(failed(MODELS, 1, 3))
    expect(foldAll(planned(), [down, down, down]).happenings).toHaveLength(2)
  })
})

describe('a unit that systemd restarts', () => {
  // RestartMode=direct: the unit does not become inactive between attempts, and at the start limit the last result stays.
  const first = restarting(COMFY0, 1, 2, { invocationId: invocationOf(COMFY0, 1) })
  const again = { activeState: 'activating', subState: 'start', inactiveEnterUs: 0 } as const
  const second = restarting(COMFY0, 1, 4, { invocationId: invocationOf(COMFY0, 2), execMainStartUs: at(3) })
  const givenUp = { ...second, activeState: 'failed', subState: 'failed', inactiveEnterUs: at(5) } as const

  test('makes one failed attempt of each, and the step fails once', () => {
    const starting = { ...first, ...again, execMainExitUs: 0 }
    const queuedAgain = { ...first, subState: 'auto-restart-queued' }
    const { machine, happenings } = foldAll(planned(), [
      ...[starting, first, first, queuedAgain].map((unit) => see(unit)),
      ...[{ ...first, ...again, execMainStartUs: at(3) }, second, givenUp, givenUp].map((unit) => see(unit)),
    ])
    expect(attemptsOf(happenings).map(({ failing, startUs }) => [failing.attempt, startUs, failing.atUs])).toEqual([
      [1, at(1), at(2)],
      [2, at(3), at(4)],
    ])
    expect(endsOf(happenings)).toEqual(['19 failed 1–4'])
    expect(stepState(machine, 19).attempts).toBe(2)
    expect(machine.state.failing).toHaveLength(1)
  })

  test('is not given up while systemd passes through failed', () => {
    const passing = failed(HEALTH, 1, 2, { subState: 'failed-before-auto-restart' })
    const waiting = { ...passing, activeState: 'activating', subState: 'auto-restart' }
    const up = active(HEALTH, 2.2, 2.5, { execMainExitUs: at(2), inactiveEnterUs: at(2) })
    const { machine, happenings } = foldAll(planned(), [see(passing), see(waiting), see(up)])
    expect(attemptsOf(happenings)).toHaveLength(1)
    expect(endsOf(happenings)).toEqual(['12 done 2.2–2.5'])
    expect(machine.state.failing).toEqual([])
    expect(machine.outcomes.get(HEALTH)).toBe('active')
  })

  test('is waited for again when it had been active before step 21', () => {
    const up = foldAll(planned(), [see(active(COMFY0, 1, 2))]).machine
    expect(up.outcomes.get(COMFY0)).toBe('active')
    const down = foldAll(up, [see(restarting(COMFY0, 1, 3))]).machine
    expect(down.outcomes.get(COMFY0)).toBe('pending')
    expect(foldAll(down, [see(active(COMFY0, 1, 5))]).machine.outcomes.get(COMFY0)).toBe('active')
  })
})

describe('a unit that was never started', () => {
  test('waits without a failure of its own when the cause is known', () => {
    const { machine, happenings } = foldAll(planned(), [see(failed(NODES, 1, 3)), jobEnded(COMFY0, 'dependency', 3)])
    expect(attemptsOf(happenings)).toHaveLength(1)
    expect(machine.outcomes.get(COMFY0)).toBe('blocked')
    expect(stepState(machine, 19).state).toBe('pending')
  })

  test('fails its step when nothing else has failed', () => {
    const { machine, happenings } = foldAll(planned(), [jobEnded(COMFY0, 'dependency', 3)])
    expect(endsOf(happenings)).toEqual(['19 failed 3–3'])
    expect(machine.state.failing).toMatchObject([
      { code: 'CM1990', type: 'dependency_failed', unit: COMFY0, gpu: 'gpu0' },
    ])
  })

  test('fails its step also when what failed before is active by now', () => {
    const { machine } = foldAll(planned(), [
      see(restarting(NODES, 1, 2)),
      see(active(NODES, 1, 3)),
      jobEnded(COMFY0, 'dependency', 4),
    ])
    expect(machine.state.failing).toMatchObject([{ unit: COMFY0, type: 'dependency_failed' }])
  })

  test('is a taken port when the health socket failed', () => {
    const socket = unitOf('comfy-health.socket', { activeState: 'failed', result: 'resources' })
    const { machine, happenings } = foldAll(planned(), [see(socket), jobEnded(HEALTH, 'dependency', 2)])
    expect(endsOf(happenings)).toEqual(['12 failed 2–2'])
    expect(machine.state.failing).toMatchObject([{ code: 'CM1201', type: 'port_in_use' }])
    expect(machine.state.failing[0]?.message).toContain('port 9090')
  })

  test.each(['done', 'failed', 'timeout'])('is nothing to tell when its job ended %s', (result) => {
    expect(foldAll(planned(), [jobEnded(COMFY0, result, 3)]).happenings).toEqual([])
  })
})

describe('after step 21', () => {
  const ready = foldAll(planned(1), [see(active(COMFY0, 1, 2)), see(active(WORKER0, 2, 3)), becomeReady]).machine

  test('a unit that dies fails, and is told when it is back', () => {
    const down = foldAll(ready, [see(restarting(COMFY0, 1, 70, { result: 'oom-kill' }))])
    expect(attemptsOf(down.happenings)).toMatchObject([
      { afterReady: true, failing: { step: 19, gpu: 'gpu0', type: 'oom_kill' } },
    ])
    expect(endsOf(down.happenings)).toEqual([])
    expect(down.machine.state.failing).toHaveLength(1)
    const up = foldAll(down.machine, [see(active(COMFY0, 1, 75)), see(active(COMFY0, 1, 75))])
    expect(up.happenings).toEqual([{ kind: 'recovered', unit: COMFY0 }])
    expect(up.machine.state.failing).toEqual([])
  })

  test('a unit that is given up fails, and its step stays done', () => {
    const { machine, happenings } = foldAll(ready, [see(failed(COMFY0, 1, 70))])
    expect(happenings.map(({ kind }) => kind)).toEqual(['attempt-failed'])
    expect(machine.outcomes.get(COMFY0)).toBe('failed')
    expect(stepState(machine, 19).state).toBe('done')
  })

  test('a unit that somebody stopped is a failure', () => {
    const { machine } = foldAll(ready, [see(unitOf(WORKER0, { inactiveExitUs: at(2), inactiveEnterUs: at(70) }))])
    expect(machine.state.failing).toMatchObject([{ step: 20, message: `${WORKER0} was stopped` }])
  })

  test('an active unit that is seen again tells nothing', () => {
    expect(foldAll(ready, [see(active(COMFY0, 1, 2))]).happenings).toEqual([])
  })
})

describe('any order in which the manager tells', () => {
  const streams: readonly (readonly ((machine: Machine) => Folded)[])[] = [
    [see(activating(HEALTH, 0.5)), see(active(HEALTH, 0.5, 0.9))],
    [see(activating(NODES, 3)), see(activating(NODES, 3, { statusText: '1 of 2' })), see(active(NODES, 3, 6))],
    [see(restarting(MODELS, 3, 4)), see(activating(MODELS, 3)), see(active(MODELS, 3, 9))],
    [queued(COMFY0, 1), see(activating(COMFY0, 9)), see(active(COMFY0, 9, 12))],
    [queued(COMFY1, 1.5), see(activating(COMFY1, 9.5)), see(active(COMFY1, 9.5, 11))],
    [see(activating(WORKER0, 12)), see(failed(WORKER0, 12, 13))],
  ]

  test('gives the same ends of steps', () => {
    const expected = [...endsOf(foldAll(planned(), streams.flat()).happenings)].sort()
    expect(expected).toHaveLength(6)
    const picks = fc.array(fc.record({ stream: fc.nat(streams.length - 1), repeats: fc.nat(2) }), { maxLength: 40 })
    fc.assert(
      fc.property(picks, (order) => {
        const rest = streams.map((stream) => [...stream])
        const told: ((machine: Machine) => Folded)[] = []
        for (const { stream, repeats } of order) {
          const next = rest[stream]?.shift()
          if (next !== undefined) told.push(...Array.from({ length: repeats + 1 }, () => next))
        }
        const { happenings } = foldAll(planned(), [...told, ...rest.flat()])
        expect([...endsOf(happenings)].sort()).toEqual(expected)
        expect(attemptsOf(happenings)).toHaveLength(2)
      }),
      { numRuns: 200 },
    )
  })
})

describe('a job that was queued while nobody listened', () => {
  const loaded = foldAll(planned(), [
    (machine) => endStep(machine, 11, { startUs: at(0), endUs: at(1), state: 'done' }),
  ]).machine
  const missed =
    (unit: UnitSnapshot) =>
    (machine: Machine): Folded =>
      foldMissedJob(machine, unit)

  test('was queued when the units were loaded, whether it waits or has begun', () => {
    const { happenings } = foldAll(loaded, [missed(unitOf(COMFY0, { jobId: 7 })), missed(activating(COMFY1, 4))])
    expect(endsOf(happenings)).toEqual(['13 done 1–1'])
  })

  test('is not told again, and not made up', () => {
    const told = foldAll(loaded, [queued(COMFY0, 2), missed(activating(COMFY0, 4)), missed(unitOf(COMFY1))])
    expect(told.happenings).toEqual([])
    expect(stepState(told.machine, 13).instances).toMatchObject([
      { state: 'done', startUs: at(2) },
      { state: 'pending' },
    ])
  })
})
