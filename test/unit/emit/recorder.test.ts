import { describe, expect, test } from 'vitest'
import { statusText } from '../../../src/emit/status-text.ts'
import { MachineError } from '../../../src/errors.ts'
import type { JournalEntry } from '../../../src/host/ports.ts'
import { enterPhase } from '../../../src/observe/fold-step.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import { type Machine, stepState } from '../../../src/observe/machine.ts'
import { rootSpanId } from '../../../src/trace-context.ts'
import { activating, active, at, failed, invocationOf, planned, TRACE_ID } from '../observe/build-machine.ts'
import { memoryRecorder, NAMES } from './memory-recorder.ts'

const codesOf = (entries: readonly JournalEntry[]): readonly (string | undefined)[] =>
  entries.map(({ fields }) => fields?.['COMFY_ERROR_CODE'])

describe('a step of the controller', () => {
  test('is running while its work lasts, then done with what the work says of itself', async () => {
    const { recorder, entries } = memoryRecorder()
    const value = await recorder.step(
      9,
      async () => {
        expect(stepState(recorder.machine, 9).state).toBe('running')
        return 2
      },
      (gpus) => ({ attributes: { 'gpu.count': gpus }, warnings: ['one GPU is slow'] }),
    )
    expect(value).toBe(2)
    expect(stepState(recorder.machine, 9)).toMatchObject({ state: 'done', attributes: { 'gpu.count': 2 } })
    expect(recorder.machine.state.warnings).toEqual(['one GPU is slow'])
    expect(entries.map(({ priority }) => priority)).toEqual(['warning', 'info'])
  })

  test('that fails is told once, also when it stands within another', async () => {
    const { recorder, entries } = memoryRecorder()
    const failing = recorder.step(6, () =>
      recorder.step(8, () => Promise.reject(new MachineError('CM0802', 'workers: is not an object'))),
    )
    await expect(failing).rejects.toMatchObject({ code: 'CM0802' })
    expect([6, 8].map((number) => stepState(recorder.machine, number).state)).toEqual(['failed', 'failed'])
    expect(recorder.machine.state.failing).toMatchObject([{ step: 8, code: 'CM0802', unit: 'comfy-machine.service' }])
    expect(codesOf(entries)).toEqual(['CM0802'])
  })

  test('that fails with anything else is a defect of comfy-machine', async () => {
    const { recorder } = memoryRecorder()
    await expect(recorder.step(7, () => Promise.reject(new TypeError('x is undefined')))).rejects.toThrow(TypeError)
    expect(recorder.machine.state.failing).toMatchObject([{ step: 7, code: 'CM0001', message: 'x is undefined' }])
  })
})

describe('the trace', () => {
  test('has what happened before it was opened, in order, and the root last', async () => {
    const { recorder, spans, outbox } = memoryRecorder()
    await recorder.step(5, async () => undefined)
    await recorder.step(3, async () => undefined)
    await recorder.flush()
    expect(spans).toEqual([])
    recorder.name(NAMES)
    recorder.keepSpans(outbox)
    recorder.fold((machine) => foldUnit(machine, active('comfy-discover.service', 1, 2), []))
    recorder.endTrace(at(9))
    await recorder.flush()
    expect(spans.map(({ name }) => name)).toEqual([
      'machine.service_manager.setup',
      'machine.environment.load',
      'machine.api.discovery.call',
      'machine.startup',
    ])
    expect(new Set(spans.map(({ resource }) => resource['service.name']))).toEqual(new Set(['comfy-machine']))
  })

  test('has a failed attempt as a trace of its own only after step 21', async () => {
    const { recorder, spans, outbox } = memoryRecorder()
    recorder.name(NAMES)
    recorder.keepSpans(outbox)
    recorder.fold((machine) => foldUnit(machine, active('comfyui@gpu0.service', 1, 2), []))
    recorder.fold((machine) => enterPhase(machine, 'ready', at(3)))
    recorder.fold((machine) => foldUnit(machine, failed('comfyui@gpu0.service', 1, 70), []))
    await recorder.flush()
    expect(spans.map(({ name }) => name)).toEqual(['machine.incident'])
  })

  test('that cannot be written is a warning, and the machine goes on', async () => {
    const { recorder, entries } = memoryRecorder()
    recorder.name(NAMES)
    recorder.keepSpans({ append: () => Promise.reject(new Error('no space left')) })
    await recorder.step(7, async () => undefined)
    await recorder.flush()
    expect(entries.map(({ message }) => message)).toContain('the trace could not be written: no space left')
  })
})

test('the state on disk is the last one once everything is flushed', async () => {
  const { recorder, states } = memoryRecorder()
  await recorder.step(7, async () => undefined)
  await recorder.step(8, async () => undefined)
  recorder.prove({ 'comfyui.commit': 'abc' })
  await recorder.flush()
  expect(states.at(-1)).toMatchObject({ step: 8, evidence: { 'comfyui.commit': 'abc' } })
})

describe('until', () => {
  const isReady = ({ state }: Machine): boolean => state.phase === 'ready'

  test('resolves when the machine fits', async () => {
    const { recorder } = memoryRecorder()
    const waiting = recorder.until(isReady, new AbortController().signal)
    recorder.fold((machine) => enterPhase(machine, 'ready', at(1)))
    await waiting
    await recorder.until(isReady, AbortSignal.abort())
  })

  test('rejects when it is told to stop, before or while it waits', async () => {
    const { recorder } = memoryRecorder()
    const stop = new AbortController()
    const waiting = recorder.until(isReady, stop.signal)
    stop.abort()
    await expect(waiting).rejects.toThrow('stopped')
    await expect(recorder.until(isReady, stop.signal)).rejects.toThrow('stopped')
  })
})

describe('statusText', () => {
  test('says what runs and what the unit says of it', () => {
    const unit = activating('comfy-install-nodes.service', 1, { statusText: '2 of 3 nodes' })
    expect(statusText(foldUnit(planned(), unit, []).machine)).toBe('step 17/21 Custom Nodes Installation: 2 of 3 nodes')
    expect(statusText(planned())).toBe('step 0/21')
  })

  test('says what fails and what to do', () => {
    const { machine } = foldUnit(planned(), failed('comfy-install-nodes.service', 1, 2), [])
    expect(statusText(machine)).toBe(
      'starting: step 17 Custom Nodes Installation: CM1790 comfy-install-nodes.service exited with status 1. Read its journal.',
    )
  })

  test('counts the workers of a machine that is ready', () => {
    expect(statusText(enterPhase(planned(), 'ready', at(1)).machine)).toBe('ready: 2 workers')
  })
})

describe('a startup that was carried on', () => {
  test('records no span twice, not even its root', async () => {
    const { recorder, spans, outbox } = memoryRecorder()
    recorder.name(NAMES)
    recorder.keepSpans(outbox)
    recorder.know([rootSpanId(TRACE_ID)])
    await recorder.step(7, async () => undefined)
    await recorder.step(7, async () => undefined)
    recorder.endTrace(at(9))
    await recorder.flush()
    expect(spans.map(({ name }) => name)).toEqual(['machine.systemd.generator.start'])
  })

  test('keeps the times of a step that was done before', async () => {
    const { recorder } = memoryRecorder()
    await recorder.step(7, async () => undefined)
    const before = stepState(recorder.machine, 7)
    await recorder.step(7, async () => {
      expect(stepState(recorder.machine, 7)).toEqual(before)
    })
    expect(stepState(recorder.machine, 7)).toEqual(before)
  })
})

test('the state is on disk before the spans of what it says', async () => {
  const { recorder, spans, outbox, states } = memoryRecorder()
  recorder.name(NAMES)
  const seen: unknown[] = []
  recorder.keepSpans({
    append: async (more) => {
      seen.push(states.at(-1)?.steps[6]?.state)
      await outbox.append(more)
    },
  })
  await recorder.step(7, async () => undefined)
  await recorder.flush()
  expect([seen, spans.length]).toEqual([['done'], 1])
})

describe('the last lines of a unit that failed', () => {
  const NODES = 'comfy-install-nodes.service'
  const told = `the last line of ${invocationOf(NODES).slice(0, 8)}`

  test('stand in its step, in the state, and delay nothing', async () => {
    const { recorder, spans, outbox } = memoryRecorder()
    recorder.name(NAMES)
    recorder.keepSpans(outbox)
    recorder.fold((machine) => foldUnit(machine, failed(NODES, 1, 2), []))
    expect(stepState(recorder.machine, 17).state).toBe('failed')
    expect(recorder.machine.state.failing[0]?.lines).toBeUndefined()
    await recorder.flush()
    expect(recorder.machine.state.failing[0]?.lines).toEqual([told])
    expect(spans.map(({ events }) => events[0]?.attributes['journal.lines'])).toEqual([told])
  })

  test('stand in the trace of its own after the machine was ready, which is told when they are known', async () => {
    const { recorder, spans, outbox } = memoryRecorder()
    recorder.name(NAMES)
    recorder.keepSpans(outbox)
    recorder.fold((machine) => enterPhase(machine, 'ready', at(3)))
    recorder.fold((machine) => foldUnit(machine, failed(NODES, 1, 70), []))
    await recorder.flush()
    expect(spans.map(({ events }) => events[0]?.attributes['journal.lines'])).toEqual([told])
  })

  test('that cannot be read leave the failure as it is', async () => {
    const { recorder, spans, outbox } = memoryRecorder(planned(), [], () => Promise.reject(new Error('no journal')))
    recorder.name(NAMES)
    recorder.keepSpans(outbox)
    recorder.fold((machine) => foldUnit(machine, failed(NODES, 1, 2), []))
    await recorder.flush()
    expect(spans.map(({ name }) => name)).toEqual(['machine.custom_nodes.install'])
    expect(spans[0]?.events[0]?.attributes).not.toHaveProperty('journal.lines')
  })
})

test('the span of a step is written behind everything that belongs to it', async () => {
  const { recorder, spans, outbox } = memoryRecorder()
  recorder.name(NAMES)
  recorder.keepSpans(outbox)
  recorder.fold((machine) => foldUnit(machine, active('comfyui@gpu0.service', 1, 2), []))
  recorder.fold((machine) => foldUnit(machine, active('comfyui@gpu1.service', 1, 3), []))
  await recorder.flush()
  expect(spans.map(({ name }) => name)).toEqual([
    'machine.comfyui.server.start gpu0',
    'machine.comfyui.server.start gpu1',
    'machine.comfyui.server.start',
  ])
})
