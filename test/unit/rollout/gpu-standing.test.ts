import { describe, expect, test } from 'vitest'
import type { UnitSnapshot } from '../../../src/host/ports.ts'
import { remember } from '../../../src/observe/fold-instance.ts'
import type { Machine } from '../../../src/observe/machine.ts'
import type { FailingState } from '../../../src/observe/state.ts'
import { standOf } from '../../../src/rollout/gpu-standing.ts'
import {
  activating,
  active,
  at,
  failed,
  failingAt,
  planned,
  planOf,
  restarting,
  unitOf,
} from '../observe/build-machine.ts'

const COMFYUI = 'comfyui@gpu0.service'
const WORKER = 'redis-worker@gpu0.service'

const machineOf = (units: readonly UnitSnapshot[], failing: readonly FailingState[] = []): Machine => {
  const machine = units.reduce(remember, planned())
  return { ...machine, state: { ...machine.state, failing } }
}
const stand = (units: readonly UnitSnapshot[], failing: readonly FailingState[] = [], sinceUs: number | null = null) =>
  standOf(machineOf(units, failing), planOf(), 'gpu0', sinceUs)

describe('a GPU', () => {
  test.each([
    ['up', active(COMFYUI, 1, 2), active(WORKER, 2, 3)],
    ['idle', active(COMFYUI, 1, 2), unitOf(WORKER)],
    ['held', active(COMFYUI, 1, 2), failed(WORKER, 2, 3)],
    ['changing', active(COMFYUI, 1, 2), activating(WORKER, 2)],
    ['changing', active(COMFYUI, 1, 2), restarting(WORKER, 2, 3)],
    ['changing', active(COMFYUI, 1, 2), active(WORKER, 2, 3, { activeState: 'deactivating' })],
    ['changing', activating(COMFYUI, 1), unitOf(WORKER, { jobId: 7 })],
    ['changing', restarting(COMFYUI, 1, 2), unitOf(WORKER)],
    ['changing', unitOf(COMFYUI, { jobId: 6 }), unitOf(WORKER, { jobId: 7 })],
    ['down', unitOf(COMFYUI), unitOf(WORKER)],
    ['down', unitOf(COMFYUI), failed(WORKER, 1, 2)],
    ['changing', unitOf(COMFYUI), active(WORKER, 1, 2, { activeState: 'deactivating' })],
    ['failed', failed(COMFYUI, 1, 2), unitOf(WORKER)],
    ['changing', failed(COMFYUI, 1, 2, { jobId: 8 }), unitOf(WORKER)],
  ])('is %s', (standing, comfyui, worker) => {
    expect(stand([comfyui, worker]).standing).toBe(standing)
  })

  const import_ = failingAt({
    unit: COMFYUI,
    gpu: 'gpu0',
    step: 19,
    code: 'CM1902',
    message: 'node-alpha',
    atUs: at(5),
  })

  test('that lacks its evidence is not tried again', () => {
    const units = [restarting(COMFYUI, 1, 2), unitOf(WORKER)]
    expect(stand(units, [import_], at(4))).toEqual({
      standing: 'failed',
      failure: { atUs: at(5), gpu: 'gpu0', unit: COMFYUI, code: 'CM1902', message: 'node-alpha', lines: [] },
    })
    expect(stand(units, [{ ...import_, code: 'CM1990' }], at(4)).standing).toBe('changing')
  })

  test('is not judged by what another generation lacked', () => {
    const units = [activating(COMFYUI, 1), unitOf(WORKER)]
    expect(stand(units, [import_], at(6)).standing).toBe('changing')
    expect(stand(units, [import_], null).standing).toBe('changing')
  })

  test('tells why it failed, with the last lines', () => {
    const failing = { ...import_, lines: ['out of paint'] }
    expect(stand([failed(COMFYUI, 1, 2), unitOf(WORKER)], [failing]).failure?.lines).toEqual(['out of paint'])
    expect(stand([failed(COMFYUI, 1, 2), unitOf(WORKER)]).failure).toMatchObject({ code: 'CM1990', atUs: at(2) })
  })
})
