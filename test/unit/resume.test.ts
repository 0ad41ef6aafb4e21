import { describe, expect, test } from 'vitest'
import type { Files } from '../../src/host/ports.ts'
import { beginStep, endStep } from '../../src/observe/fold-step.ts'
import { foldUnit } from '../../src/observe/fold-unit.ts'
import type { Identity, Machine } from '../../src/observe/machine.ts'
import type { MachineState } from '../../src/observe/state.ts'
import { readUnfinished } from '../../src/resume.ts'
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

/** A start of which steps 1 to 11 are done, one unit is active and one has failed. */
const before: Machine = foldAll(planned(), [
  ...Array.from(
    { length: 11 },
    (_, index) => (machine: Machine) => endStep(machine, index + 1, { startUs: at(0), endUs: at(1), state: 'done' }),
  ),
  (machine) => foldUnit(machine, active('comfy-discover.service', 2, 3), []),
  (machine) => foldUnit(machine, failed('comfy-install-models.service', 2, 4), []),
]).machine

function read(state: object | undefined, plan: object = planOf()) {
  const texts = new Map([[`${RUN}/plan.json`, JSON.stringify(plan)]])
  if (state !== undefined) texts.set(`${RUN}/state.json`, JSON.stringify(state))
  const files = { readText: async (file: string) => texts.get(file) }
  return readUnfinished(files as unknown as Files, RUN, identity)
}

describe('readUnfinished', () => {
  test('carries a startup on under its own trace', async () => {
    const unfinished = await read(before.state)
    expect(unfinished?.machine.state).toEqual({ ...before.state, agentPid: 77 })
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
    ['its units were not loaded yet', beginStep(before, 11, at(1)).state],
  ])('begins anew when %s', async (_, state) => {
    expect(await read(state)).toBeUndefined()
  })

  test('begins anew when the plan is of another start', async () => {
    expect(await read(before.state, { ...planOf(), traceId: '0'.repeat(32) })).toBeUndefined()
  })
})
