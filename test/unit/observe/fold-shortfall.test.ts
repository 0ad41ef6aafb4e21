import { describe, expect, test } from 'vitest'
import type { UnitSnapshot } from '../../../src/host/ports.ts'
import { describeShortfalls } from '../../../src/observe/fold-shortfall.ts'
import type { Folded } from '../../../src/observe/fold-step.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import type { Machine } from '../../../src/observe/machine.ts'
import type { ReportLine } from '../../../src/report.ts'
import {
  activating,
  active,
  failed,
  foldAll,
  invocationOf,
  planned,
  reportOf,
  restarting,
  shortfallAt,
} from './build-machine.ts'

const GPU0 = 'comfyui@gpu0.service'
const GPU1 = 'comfyui@gpu1.service'
const NODES = 'comfy-install-nodes.service'

const failure = { code: 'CM1902', type: 'import_failed', message: 'face: gone', hint: 'Look.' } as const
const without = (component: string, code: string = failure.code): ReportLine =>
  ({ kind: 'shortfall', component, failure: { ...failure, code } }) as ReportLine
const fold =
  (unit: UnitSnapshot, ...lines: readonly ReportLine[]) =>
  (machine: Machine): Folded =>
    foldUnit(machine, unit, lines.length === 0 ? [] : reportOf(unit.invocationId, ...lines))
const shown = ({ machine }: Folded): readonly string[] =>
  machine.state.shortfalls.map(({ step, unit, component }) => `${step} ${unit} ${component}`)

describe('what a unit goes on without', () => {
  test('is known with its step and GPU, and told once', () => {
    const up = active(GPU0, 1, 2)
    const folded = foldAll(planned(), [fold(up, without('custom node face')), fold(up, without('custom node face'))])
    expect(folded.machine.state.shortfalls).toEqual([
      {
        ...failure,
        step: 19,
        stepName: 'ComfyUI Server Start',
        unit: GPU0,
        gpu: 'gpu0',
        component: 'custom node face',
        run: expect.stringContaining('journalctl') as string,
      },
    ])
    expect(folded.happenings.filter(({ kind }) => kind === 'shortfall')).toHaveLength(1)
    expect(folded.machine.state.failing).toEqual([])
  })

  test('stays when the unit is seen again and says nothing', () => {
    const up = active(GPU0, 1, 2)
    expect(shown(foldAll(planned(), [fold(up, without('prompt')), fold(up)]))).toHaveLength(1)
  })

  test('is of its unit: others have theirs, in the order of steps and GPUs', () => {
    const folded = foldAll(planned(), [
      fold(active(GPU1, 1, 2), without('model ae')),
      fold(active(GPU0, 1, 2), without('prompt')),
      fold(active(NODES, 1, 2), without('custom node face')),
    ])
    expect(shown(folded)).toEqual([`17 ${NODES} custom node face`, `19 ${GPU0} prompt`, `19 ${GPU1} model ae`])
  })

  test('is forgotten when the unit starts anew, fails or waits, and replaced by what the new start says', () => {
    const up = active(GPU0, 1, 2)
    const later = active(GPU0, 3, 4, { invocationId: invocationOf(GPU0, 2) })
    const begun = fold(up, without('prompt'), without('model ae'))
    for (const next of [activating(GPU0, 3), failed(GPU0, 1, 3), restarting(GPU0, 1, 3)])
      expect(shown(foldAll(planned(), [begun, fold(next)]))).toEqual([])
    expect(shown(foldAll(planned(), [begun, fold(later, without('model ae'))]))).toEqual([`19 ${GPU0} model ae`])
    expect(shown(foldAll(planned(), [begun, fold(later, { kind: 'fact', attributes: {} })]))).toEqual([])
  })

  test('is nothing where the report is of another invocation, or the code of another program', () => {
    const up = active(GPU0, 1, 2)
    const old = reportOf(invocationOf(GPU0, 7), without('prompt'))
    expect(foldUnit(planned(), up, old).machine.state.shortfalls).toEqual([])
    expect(shown(foldAll(planned(), [fold(up, without('prompt', 'CM1999'))]))).toEqual([])
  })
})

test('one sentence names each component once', () => {
  const list = [
    shortfallAt(),
    shortfallAt({ gpu: 'gpu1', unit: GPU1 }),
    shortfallAt({ component: 'prompt', code: 'CM1904' }),
  ]
  expect(describeShortfalls(list)).toBe('custom node face (CM1902), prompt (CM1904)')
  expect(describeShortfalls([])).toBe('')
})
