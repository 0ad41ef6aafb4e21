import { describe, expect, test } from 'vitest'
import { stepSpanId } from '../../src/emit/spans.ts'
import type { Files, SpanRecord } from '../../src/host/ports.ts'
import { beginStep, endStep, failStep } from '../../src/observe/fold-step.ts'
import { foldUnit } from '../../src/observe/fold-unit.ts'
import { type Identity, type Machine, newMachine, stepState } from '../../src/observe/machine.ts'
import type { MachineState } from '../../src/observe/state.ts'
import { readUnfinished, retell } from '../../src/resume.ts'
import { memoryRecorder, NAMES } from './emit/memory-recorder.ts'
import { active, at, failed, foldAll, monoAt, planned, planOf, TRACE_ID } from './observe/build-machine.ts'

const RUN = '/run/comfy-machine'
const identity: Identity = {
  machineId: 'm1',
  version: '1.2.3',
  traceId: 'f'.repeat(32),
  bootId: 'b1',
  agentPid: 77,
  startedUs: at(100),
  startedMonoUs: monoAt(100),
}

/** A start of which steps 1 to 11 are done. */
const loaded: Machine = foldAll(
  planned(),
  Array.from(
    { length: 11 },
    (_, index) => (machine: Machine) => endStep(machine, index + 1, { startUs: at(0), endUs: at(1), state: 'done' }),
  ),
).machine

/** The same start when one unit is active and one has failed. */
const before: Machine = foldAll(loaded, [
  (machine) => foldUnit(machine, active('comfy-discover.service', 2, 3), []),
  (machine) => foldUnit(machine, failed('comfy-install-models.service', 2, 4), []),
]).machine

/** A start that was left in the middle of step 9. */
const early: Machine = beginStep(
  foldAll(
    planned(),
    [1, 2, 3, 4, 5, 7, 8].map(
      (number) => (machine: Machine) => endStep(machine, number, { startUs: at(0), endUs: at(1), state: 'done' }),
    ),
  ).machine,
  9,
  at(1),
)

function read(state: object | undefined, plan: object = planOf()) {
  const texts = new Map([[`${RUN}/plan.json`, JSON.stringify(plan)]])
  if (state !== undefined) texts.set(`${RUN}/state.json`, JSON.stringify(state))
  const files = { readText: async (file: string) => texts.get(file) }
  return readUnfinished(files as unknown as Files, RUN, identity)
}

describe('readUnfinished', () => {
  test('carries a startup on under its own trace', async () => {
    const unfinished = await read(before.state)
    expect(unfinished?.machine.state).toEqual({ ...before.state, agentPid: 77, restarts: 1 })
    expect(unfinished?.machine.state.traceId).toBe(TRACE_ID)
    expect(unfinished?.machine.outcomes).toEqual(planned().outcomes)
  })

  test('tells nothing again that was told', async () => {
    const machine = (await read(before.state))?.machine ?? planned()
    const { happenings, machine: after } = foldAll(machine, [
      (current) => foldUnit(current, active('comfy-discover.service', 2, 3), []),
      (current) => foldUnit(current, failed('comfy-install-models.service', 2, 4), []),
    ])
    expect(happenings).toEqual([])
    expect(after.outcomes.get('comfy-discover.service')).toBe('active')
    expect(after.outcomes.get('comfy-install-models.service')).toBe('failed')
  })

  test('of a machine that was ready does not call its units recovered', async () => {
    const ready: MachineState = { ...before.state, phase: 'ready', readyUs: at(60), failing: [] }
    const machine = (await read(ready))?.machine ?? planned()
    const unit = active('comfy-discover.service', 2, 3)
    expect(foldUnit(machine, unit, []).happenings).toEqual([])
  })

  test.each<[string, object | undefined]>([
    ['there is no state', undefined],
    ['it failed', { ...before.state, phase: 'failed' }],
    ['it was stopped', { ...before.state, phase: 'stopped' }],
    ['it was of an earlier boot', { ...before.state, bootId: 'b0' }],
    ['it was of another version', { ...before.state, version: '1.0.0' }],
    ['a step of the controller had failed', failStep(early, 9, at(1), at(2)).machine.state],
  ])('begins anew when %s', async (_, state) => {
    expect(await read(state)).toBeUndefined()
  })

  test('does everything again under the same trace when its units were not loaded yet', async () => {
    const unfinished = await read(early.state)
    expect(unfinished?.plan).toBeUndefined()
    expect(unfinished?.machine.state).toEqual({ ...early.state, agentPid: 77, restarts: 1 })
    expect((await read({ ...early.state, restarts: 2 }))?.machine.state.restarts).toBe(3)
  })

  test('does everything again when the plan is of another start', async () => {
    const unfinished = await read(loaded.state, { ...planOf(), traceId: '0'.repeat(32) })
    expect(unfinished?.plan).toBeUndefined()
    expect(unfinished?.machine.state.traceId).toBe(TRACE_ID)
  })

  test('of a machine that was ready begins anew when its plan is gone', async () => {
    const ready = { ...before.state, phase: 'ready', failing: [] }
    expect(await read(ready, { ...planOf(), traceId: '0'.repeat(32) })).toBeUndefined()
  })
})

describe('retell', () => {
  const stepIds = (number: number): string => stepSpanId(TRACE_ID, number, stepState(before, number).invocationId)
  const told = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 16, 18].map(stepIds)

  function retold(known: readonly string[]) {
    const spans: SpanRecord[] = []
    const { recorder, outbox } = memoryRecorder(before, spans)
    recorder.know(known)
    retell(recorder, new Set(known))
    recorder.keepSpans(outbox)
    return { recorder, spans }
  }

  test('tells nothing of a trace that is whole', async () => {
    const { recorder, spans } = retold(told)
    await recorder.flush()
    expect(spans).toEqual([])
    expect(recorder.machine.state).toEqual(before.state)
  })

  test('tells a step of the controller from the state', async () => {
    const { recorder, spans } = retold(told.filter((id) => id !== stepIds(7)))
    await recorder.flush()
    expect(spans).toMatchObject([{ spanId: stepIds(7), startUs: at(0), endUs: at(1) }])
  })

  test('tells with its name what ended before the machine had one', async () => {
    const { entries, outbox, recorder, spans } = memoryRecorder(
      endStep(newMachine(identity), 5, { startUs: at(0), endUs: at(1), state: 'done' }).machine,
    )
    retell(recorder, new Set())
    recorder.name(NAMES)
    recorder.keepSpans(outbox)
    await recorder.flush()
    expect(spans).toMatchObject([{ attributes: { step_number: 5, workers_config: NAMES.workersConfig } }])
    expect(entries).toMatchObject([{ fields: { COMFY_STEP: '5' } }])
  })

  test('lets the unit tell its step once more', async () => {
    const { recorder, spans } = retold(told.filter((id) => id !== stepIds(16)))
    expect(stepState(recorder.machine, 16).state).toBe('pending')
    recorder.fold((machine) => foldUnit(machine, active('comfy-discover.service', 2, 3), []))
    await recorder.flush()
    expect(spans).toMatchObject([{ spanId: stepIds(16), startUs: at(2), endUs: at(3) }])
    expect(stepState(recorder.machine, 16)).toEqual(stepState(before, 16))
  })
})
