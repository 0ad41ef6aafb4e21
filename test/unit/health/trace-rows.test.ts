import { expect, test } from 'vitest'
import { incidentSpan, startupSpan } from '../../../src/emit/root-spans.ts'
import { stepSpans } from '../../../src/emit/spans.ts'
import { findStartups } from '../../../src/health/trace-model.ts'
import { failingCode, traceRows } from '../../../src/health/trace-rows.ts'
import { enterPhase } from '../../../src/observe/fold-step.ts'
import { foldUnit } from '../../../src/observe/fold-unit.ts'
import type { Machine } from '../../../src/observe/machine.ts'
import {
  active,
  at,
  failed,
  failingAt,
  foldAll,
  invocationOf,
  planned,
  reportOf,
  restarting,
} from '../observe/build-machine.ts'

const MODELS = 'comfy-install-models.service'
const WRONG = 'ae.safetensors: sha256 is 3f, expected 9a'

// The reader of the record and its writer must mean the same by each attribute.
test('the rows of what the recorder writes', () => {
  const { code, type, message, hint } = failingAt()
  const failure = { kind: 'failure', code, type, message, hint, atUs: at(4), attempt: 1 } as const
  const child = {
    kind: 'child',
    name: 'model ae',
    startUs: at(2),
    endUs: at(4),
    state: 'failed',
    attributes: {},
    failure,
  } as const
  const folds = [
    (machine: Machine) => foldUnit(machine, restarting('comfyui@gpu1.service', 1, 2), []),
    (machine: Machine) => foldUnit(machine, active('comfyui@gpu0.service', 1, 5), []),
    (machine: Machine) => foldUnit(machine, active('comfyui@gpu1.service', 1, 6), []),
    (machine: Machine) => foldUnit(machine, failed(MODELS, 1, 4), reportOf(invocationOf(MODELS), child, failure)),
  ]
  const { machine, happenings } = foldAll(planned(), folds)
  const context = { traceId: machine.state.traceId, resource: {} }
  const steps = happenings.flatMap((each) => (each.kind === 'step-ended' ? stepSpans(machine, each, context) : []))
  const root = startupSpan(enterPhase(machine, 'failed', at(7)).machine, at(7), context)
  const attempt = { kind: 'attempt-failed', failing: failingAt(), startUs: at(80), afterReady: true } as const
  const [trace] = findStartups([...steps, incidentSpan(machine, attempt, context), root])
  if (trace === undefined) throw new Error('no startup')

  expect(
    traceRows(trace).map(({ depth, number, label, state, notes }) => [depth, number, label, state, notes]),
  ).toEqual([
    [0, 0, 'Startup', 'failed', []],
    [
      1,
      18,
      'Models Installation',
      'failed',
      [
        { kind: 'failure', text: `CM1804 ${WRONG}` },
        { kind: 'hint', text: hint },
      ],
    ],
    [2, 0, 'model ae', 'failed', []],
    [1, 19, 'ComfyUI Server Start', 'done', []],
    [2, 0, 'gpu0', 'done', []],
    [
      2,
      0,
      'gpu1',
      'done',
      [{ kind: 'attempt', text: 'attempt 1 failed after 1.0 s: CM1990 comfyui@gpu1.service exited with status 1' }],
    ],
  ])
  expect(failingCode(trace)).toBe('CM1804')
  expect(trace.incidents).toHaveLength(1)
})
