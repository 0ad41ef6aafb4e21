import { describe, expect, test } from 'vitest'
import { formatDuration } from '../../../src/emit/duration.ts'
import { journalLine, MESSAGE_IDS, warningLine } from '../../../src/emit/journal-lines.ts'
import { incidentContext } from '../../../src/emit/root-spans.ts'
import { enterPhase } from '../../../src/observe/fold-step.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import type { Machine } from '../../../src/observe/machine.ts'
import type { FailingState } from '../../../src/observe/state.ts'
import { active, at, failed, failingAt, inPhase, planned, stepEnded, TRACE_ID } from '../observe/build-machine.ts'

const common = { COMFY_MACHINE_ID: 'm1', COMFY_TRACE_ID: TRACE_ID }

describe('journalLine', () => {
  test('a step that is done: sentence and fields', () => {
    const line = journalLine(planned(), stepEnded({ unit: 'comfy-install-comfyui.service' }))
    expect(line).toEqual({
      message: 'step 14/21 ComfyUI Installer Init: done in 2.5 s',
      priority: 'info',
      messageId: MESSAGE_IDS.stepDone,
      fields: {
        ...common,
        COMFY_STEP: '14',
        COMFY_EVENT: 'machine.comfyui.installer.init',
        COMFY_PHASE: 'component_installation',
        COMFY_STATE: 'done',
        COMFY_DURATION_MS: '2500',
        COMFY_UNIT: 'comfy-install-comfyui.service',
        TRACE_ID,
        SPAN_ID: expect.stringMatching(/^[0-9a-f]{16}$/),
      },
    })
  })

  test('a summary and the number of GPUs stand behind the sentence', () => {
    expect(journalLine(planned(), stepEnded({ attributes: { summary: '3 nodes' } }))?.message).toMatch(/ \(3 nodes\)$/)
    const { instances } = planned().state.steps[18] ?? {}
    expect(journalLine(planned(), stepEnded({ number: 19, instances: instances ?? [] }))?.message).toMatch(
      / \(2 GPUs\)$/,
    )
  })

  test('a failed attempt says code, message and what to do; its step’s end says nothing again', () => {
    const failing = failingAt({ gpu: 'gpu1', attempt: 2 })
    const line = journalLine(planned(), { kind: 'attempt-failed', failing, startUs: at(18), afterReady: false })
    expect(line).toMatchObject({
      message:
        'step 18/21 Models Installation gpu1: CM1804 ae.safetensors: sha256 is 3f, expected 9a. Correct the hash in the API.',
      priority: 'err',
      messageId: MESSAGE_IDS.stepFailed,
      fields: {
        ...common,
        COMFY_STEP: '18',
        COMFY_EVENT: 'machine.step.failure',
        COMFY_STATE: 'failed',
        COMFY_DURATION_MS: '2000',
        COMFY_ERROR_CODE: 'CM1804',
        COMFY_ERROR_TYPE: 'checksum_mismatch',
        COMFY_ATTEMPT: '2',
        COMFY_HINT: 'Correct the hash in the API.',
        COMFY_UNIT: 'comfy-install-models.service',
        COMFY_GPU: 'gpu1',
      },
    })
    expect(journalLine(planned(), stepEnded({ state: 'failed' }))).toBeUndefined()
  })

  test.each([
    ['ready', 'the machine is ready: 2 workers', 'notice'],
    ['stopped', 'the machine stops', 'notice'],
  ] as const)('the phase %s', (phase, message, priority) => {
    expect(journalLine(inPhase(phase), { kind: 'phase-changed', phase })).toMatchObject({ message, priority })
  })

  test.each([
    ['failed', 'err', 'the machine is not ready'],
    ['degraded', 'warning', 'the machine is no longer ready'],
  ] as const)('the phase %s names its causes', (phase, priority, words) => {
    const down = foldUnit(planned(1), failed('comfyui@gpu0.service', 1, 2), []).machine
    const line = journalLine({ ...down, state: { ...down.state, phase } }, { kind: 'phase-changed', phase })
    expect(line).toMatchObject({ priority, message: `${words}: step 19 CM1990` })
  })

  test('without a failure a machine that is not ready names the units that are not active', () => {
    const outcomes = new Map([
      ['comfyui@gpu0.service', 'active'],
      ['comfy-health.service', 'active'],
    ] as const)
    const up = foldUnit({ ...inPhase('degraded'), outcomes }, active('comfy-health.service', 1, 2), []).machine
    expect(journalLine(up, { kind: 'phase-changed', phase: 'degraded' })?.message).toBe(
      'the machine is no longer ready: comfyui@gpu0.service not active',
    )
  })

  test('a recovery and a warning', () => {
    const failing = failingAt({ step: 19, unit: 'comfyui@gpu0.service', gpu: 'gpu0', atUs: at(70) })
    const line = journalLine(planned(), { kind: 'recovered', failing, atUs: at(72) })
    expect(line).toMatchObject({
      message: 'comfyui@gpu0.service is active again after 2.0 s',
      priority: 'notice',
      messageId: MESSAGE_IDS.unitRecovered,
      fields: {
        ...common,
        COMFY_STEP: '19',
        COMFY_UNIT: 'comfyui@gpu0.service',
        COMFY_GPU: 'gpu0',
        COMFY_DURATION_MS: '2000',
        TRACE_ID: incidentContext(TRACE_ID, failing).traceId,
      },
    })
    expect(warningLine(planned(), 'look')).toEqual({ message: 'look', priority: 'warning', fields: common })
  })
})

describe('a line about one GPU', () => {
  const unit = active('comfyui@gpu1.service', 2, 3.5)
  const { machine, happenings } = foldUnit(planned(), unit, [])
  const [line] = happenings.map((each) => journalLine(machine, each))

  test('names it, its unit and its span', () => {
    expect(line).toMatchObject({
      message: 'step 19/21 ComfyUI Server Start gpu1: done in 1.5 s',
      messageId: MESSAGE_IDS.instanceEnded,
      fields: {
        ...common,
        COMFY_STEP: '19',
        COMFY_EVENT: 'machine.comfyui.server.start',
        COMFY_STATE: 'done',
        COMFY_DURATION_MS: '1500',
        COMFY_GPU: 'gpu1',
        COMFY_UNIT: 'comfyui@gpu1.service',
        TRACE_ID,
        SPAN_ID: unit.invocationId.slice(0, 16),
      },
    })
  })

  test('is written once', () => {
    expect(foldUnit(machine, unit, []).happenings).toEqual([])
  })
})

describe('a line about a failure', () => {
  const invocationId = 'c'.repeat(32)
  const lineOf = (machine: Machine, changes: Partial<FailingState> = {}) => {
    const failing = failingAt({ invocationId, result: 'signal', exitSignal: 'SIGKILL', ...changes })
    return journalLine(machine, { kind: 'attempt-failed', failing, startUs: at(10), afterReady: false })?.fields
  }

  test('says how systemd saw it end, and names the span that shows it', () => {
    expect(lineOf(planned())).toMatchObject({
      COMFY_RESULT: 'signal',
      COMFY_EXIT: 'SIGKILL',
      TRACE_ID,
      SPAN_ID: 'c'.repeat(16),
    })
    expect(lineOf(planned(), { exitStatus: 3 })).toMatchObject({ COMFY_EXIT: 'SIGKILL' })
  })

  test('names no span while systemd tries again', () => {
    expect(lineOf(planned(), { willRestart: true })).not.toHaveProperty('SPAN_ID')
  })

  test('names the trace of its own after the machine was ready', () => {
    const ready = enterPhase(planned(), 'ready', at(60)).machine
    const { traceId, spanId } = incidentContext(TRACE_ID, failingAt())
    expect(lineOf(ready)).toMatchObject({ COMFY_TRACE_ID: TRACE_ID, TRACE_ID: traceId, SPAN_ID: spanId })
  })
})

test.each([
  [-5, '0 µs'],
  [340, '340 µs'],
  [12_400, '12 ms'],
  [4_230_000, '4.2 s'],
  [200_000_000, '3 min 20 s'],
  [999_600, '1.0 s'],
  [59_960_000, '1 min 0 s'],
  [239_900_000, '4 min 0 s'],
  [7_190_000_000, '2 h 0 min'],
  [3_900_000_000, '1 h 5 min'],
])('%d µs reads %s', (us, text) => {
  expect(formatDuration(us)).toBe(text)
})
