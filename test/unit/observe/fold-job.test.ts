import { describe, expect, test } from 'vitest'
import type { UnitSnapshot } from '../../../src/host/ports.ts'
import { foldJobless, foldJobNew, foldJobRemoved, foldQueued } from '../../../src/observe/fold-job.ts'
import { enterPhase, type Folded } from '../../../src/observe/fold-step.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import { type Happening, type Machine, stepState } from '../../../src/observe/machine.ts'
import { activating, active, at, changed, failed, foldAll, planned, restarting, unitOf } from './build-machine.ts'

const NODES = 'comfy-install-nodes.service'
const MODELS = 'comfy-install-models.service'
const HEALTH = 'comfy-health.service'
const COMFY0 = 'comfyui@gpu0.service'

const see =
  (unit: UnitSnapshot) =>
  (machine: Machine): Folded =>
    foldUnit(machine, unit, [])
const jobEnded =
  (unit: string, result: string, seconds: number) =>
  (machine: Machine): Folded =>
    foldJobRemoved(machine, unit, result, at(seconds))
const readWithoutJob =
  (unit: UnitSnapshot, seconds: number) =>
  (machine: Machine): Folded =>
    foldJobless(foldUnit(machine, unit, []).machine, unit, at(seconds))

const endsOf = (happenings: readonly Happening[]): readonly string[] =>
  happenings.flatMap((each) =>
    each.kind === 'step-ended'
      ? [`${each.step.number} ${each.step.state} ${secondsOf(each.step.startUs)}–${secondsOf(each.step.endUs)}`]
      : [],
  )
const secondsOf = (us: number | undefined): number | undefined => (us === undefined ? us : (us - at(0)) / 1_000_000)
const attemptsOf = (happenings: readonly Happening[]): readonly Happening[] =>
  happenings.filter((each) => each.kind === 'attempt-failed')

describe('a condition that says no', () => {
  const skippedUnit = unitOf(MODELS, { conditionResult: false, conditionUs: at(2) })

  test('makes the step skipped, though systemd calls its job done', () => {
    const { machine, happenings } = foldAll(planned(), [see(skippedUnit), jobEnded(MODELS, 'done', 2.1)])
    expect(endsOf(happenings)).toEqual(['18 skipped 2–2'])
    expect(machine.outcomes.get(MODELS)).toBe('skipped')
  })

  test('of an earlier start means nothing', () => {
    const old = changed(skippedUnit, { conditionUs: at(-9) })
    expect(foldAll(planned(), [see(old), jobEnded(MODELS, 'done', 2.1)]).happenings).toEqual([])
  })

  test('is not what a unit has that started', () => {
    const { happenings } = foldAll(planned(), [see(active(MODELS, 1, 2)), jobEnded(MODELS, 'done', 2.1)])
    expect(endsOf(happenings)).toEqual(['18 done 1–2'])
  })

  test('in ExecCondition= makes the step skipped too, from its start to its end', () => {
    const times = { inactiveExitUs: at(2), inactiveEnterUs: at(2.5), execMainExitUs: 0 }
    const unit = unitOf(MODELS, { result: 'exec-condition', ...times })
    const { machine, happenings } = foldAll(planned(), [see(unit), jobEnded(MODELS, 'done', 2.6)])
    expect(endsOf(happenings)).toEqual(['18 skipped 2–2.5'])
    expect(machine.outcomes.get(MODELS)).toBe('skipped')
  })
})

describe('a unit that was never started', () => {
  test('waits without a failure of its own when the cause is known', () => {
    const { machine, happenings } = foldAll(planned(), [see(failed(NODES, 1, 3)), jobEnded(COMFY0, 'dependency', 3)])
    expect(attemptsOf(happenings)).toHaveLength(1)
    expect(machine.outcomes.get(COMFY0)).toBe('blocked')
    expect(stepState(machine, 19).state).toBe('pending')
  })

  test('has a failure of its own when an Assert of it said no', () => {
    const { machine } = foldAll(planned(), [see(failed(NODES, 1, 3)), jobEnded(MODELS, 'assert', 3)])
    expect(machine.state.failing.map(({ unit }) => unit)).toEqual([NODES, MODELS])
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

  test.each(['done', 'failed', 'timeout'])('is not what is starting when a job of it ended %s', (result) => {
    const { machine, happenings } = foldAll(planned(), [see(activating(COMFY0, 1)), jobEnded(COMFY0, result, 3)])
    expect(happenings).toEqual([])
    expect(machine.outcomes.get(COMFY0)).toBe('pending')
  })

  test('is nothing to tell when a job of it ended well', () => {
    expect(foldAll(planned(), [jobEnded(COMFY0, 'done', 3)]).happenings).toEqual([])
  })

  test('is what was started and stopped before, too', () => {
    const gone = unitOf(COMFY0, { inactiveExitUs: at(1), inactiveEnterUs: at(2) })
    const { machine } = foldAll(planned(), [see(gone), jobEnded(COMFY0, 'dependency', 3)])
    expect(machine.outcomes.get(COMFY0)).toBe('blocked')
    expect(machine.state.failing).toMatchObject([{ message: `${COMFY0} was stopped` }])
  })

  test('is one that its start limit forbids to start', () => {
    const limited = unitOf(COMFY0, { activeState: 'failed', subState: 'failed', result: 'start-limit-hit' })
    const { machine, happenings } = foldAll(planned(), [see(limited), jobEnded(COMFY0, 'failed', 3)])
    expect(machine.state.failing).toMatchObject([{ type: 'start_limit', unit: COMFY0, gpu: 'gpu0' }])
    expect(endsOf(happenings)).toEqual(['19 failed 3–3'])
  })
})

describe('a oneshot that does not stay', () => {
  const ran = unitOf(NODES, {
    inactiveExitUs: at(1),
    execMainStartUs: at(1),
    execMainExitUs: at(1.002),
    inactiveEnterUs: at(1.003),
    exitCode: 1,
  })

  test('is done when it has run, and has finished', () => {
    const { machine, happenings } = foldAll(planned(), [see(ran), jobEnded(NODES, 'done', 2), see(ran)])
    expect(endsOf(happenings)).toEqual(['17 done 1–1.003'])
    expect(machine.outcomes.get(NODES)).toBe('finished')
    expect(attemptsOf(happenings)).toEqual([])
  })

  test('is not done when it was ended', () => {
    const { machine } = foldAll(planned(), [
      see(changed(ran, { exitCode: 2, exitStatus: 15 })),
      jobEnded(NODES, 'canceled', 2),
    ])
    expect(machine.outcomes.get(NODES)).toBe('blocked')
  })
})

describe('a start job that was queued unseen', () => {
  const COMFY1 = 'comfyui@gpu1.service'
  const read =
    (unit: UnitSnapshot, seconds: number) =>
    (machine: Machine): Folded =>
      foldQueued(machine, unit, at(seconds))

  test('is told by the unit that has it, or has started', () => {
    const { happenings } = foldAll(planned(), [
      read(unitOf(COMFY0, { jobId: 7 }), 3),
      read(unitOf(COMFY0), 4),
      read(unitOf(COMFY1), 4),
      read(active(COMFY1, 5, 6), 9),
    ])
    expect(endsOf(happenings)).toEqual(['13 done 3–5'])
  })

  test('counts once: a further job of the same unit is none of the step', () => {
    const queued = (unit: string, seconds: number) => (machine: Machine) => foldJobNew(machine, unit, at(seconds))
    const { machine } = foldAll(planned(), [queued(COMFY0, 2), queued(COMFY1, 3), queued(COMFY0, 8)])
    expect(stepState(machine, 13).instances.map(({ endUs }) => endUs)).toEqual([at(2), at(3)])
  })
})

describe('a unit that is found without a job', () => {
  test('is skipped when its condition said no', () => {
    const unit = unitOf(MODELS, { conditionResult: false, conditionUs: at(2) })
    const { machine, happenings } = foldAll(planned(), [readWithoutJob(unit, 9), readWithoutJob(unit, 10)])
    expect(endsOf(happenings)).toEqual(['18 skipped 2–2'])
    expect(machine.outcomes.get(MODELS)).toBe('skipped')
  })

  test('waits for nothing when another unit has failed', () => {
    const { machine, happenings } = foldAll(planned(), [see(failed(NODES, 1, 3)), readWithoutJob(unitOf(COMFY0), 9)])
    expect(attemptsOf(happenings)).toHaveLength(1)
    expect(machine.outcomes.get(COMFY0)).toBe('blocked')
    expect(stepState(machine, 19).state).toBe('pending')
  })

  test('fails its step when there is no other cause', () => {
    const { machine, happenings } = foldAll(planned(), [readWithoutJob(unitOf(COMFY0), 9)])
    expect(endsOf(happenings)).toEqual(['19 failed 9–9'])
    expect(machine.state.failing).toMatchObject([
      { type: 'dependency_failed', message: `${COMFY0} was not started: its start job is gone` },
    ])
  })

  test.each([
    ['has a job', unitOf(COMFY0, { jobId: 7 })],
    ['starts', activating(COMFY0, 1)],
    ['is active since an earlier start', active(HEALTH, -9, -8)],
    ['waits for its restart', restarting(COMFY0, 1, 2)],
  ])('is no matter while it %s', (_, unit) => {
    const before = foldAll(planned(), [see(unit)]).machine
    expect(foldJobless(before, unit, at(9))).toEqual({ machine: before, happenings: [] })
  })

  test('is no matter after step 21', () => {
    const { machine } = foldAll(planned(), [(current) => enterPhase(current, 'ready', at(60))])
    expect(foldJobless(machine, unitOf(COMFY0), at(70)).happenings).toEqual([])
  })
})
