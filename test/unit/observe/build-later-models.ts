import type { UnitSnapshot } from '../../../src/host/ports.ts'
import { foldLaterModels } from '../../../src/observe/fold-later-models.ts'
import type { Folded } from '../../../src/observe/fold-step.ts'
import type { Machine } from '../../../src/observe/machine.ts'
import { LATER_MODELS } from '../../../src/plan/plan.ts'
import type { Attributes, Progress, ReportLine } from '../../../src/report.ts'
import { activating, active, at, failed, invocationOf, reportOf, restarting } from './build-machine.ts'

/** The progress of one of three models. */
export const PROGRESS: Progress = {
  ...{ done: 1, total: 3, bytes: 12e9, totalBytes: 40e9, bytesPerSecond: 212e6, remainingMs: 120_000 },
  current: ['wan.safetensors', 'lora.safetensors'],
  files: [
    { name: 'wan.safetensors', bytes: 9e9, totalBytes: 18e9, bytesPerSecond: 200e6, remainingMs: 45_000 },
    { name: 'lora.safetensors', bytes: 1e6 },
  ],
}

/** What the unit says of that. */
export const SAID = '1/3 models, 12.0/40.0 GB, 212 MB/s, 2 min left'

/** A model that was brought, found in place, or not brought. */
export function childOf(name: string, state: 'done' | 'skipped' | 'failed', code = 'CM1802'): ReportLine {
  const failure = { code, type: 'http_error', message: `${name}: 404`, hint: 'Check the URL.' }
  const child = { kind: 'child', name: `model ${name}`, key: name, startUs: at(61), endUs: at(62), state }
  return { ...child, attributes: {}, ...(state === 'failed' ? { failure } : {}) } as ReportLine
}

/** What a run says of all its models. */
export function factOf(attributes: Attributes): ReportLine {
  return { kind: 'fact', attributes }
}

/** The unit at its n-th start, which began 60 s into the startup. */
export const runOf = {
  running: (n = 1, changes: Partial<UnitSnapshot> = {}) =>
    activating(LATER_MODELS, 60, { invocationId: invocationOf(LATER_MODELS, n), ...changes }),
  done: (n = 1) =>
    active(LATER_MODELS, 60, 70, { invocationId: invocationOf(LATER_MODELS, n), subState: 'exited', mainPid: 0 }),
  waiting: (n = 1) => restarting(LATER_MODELS, 60, 70, { invocationId: invocationOf(LATER_MODELS, n), exitStatus: 75 }),
  failed: (n = 1) => failed(LATER_MODELS, 60, 70, { invocationId: invocationOf(LATER_MODELS, n) }),
}

/** The fold of one snapshot, with the lines that its run has reported. */
export const foldRun =
  (unit: UnitSnapshot, lines: readonly ReportLine[] = [], progress?: Progress) =>
  (machine: Machine): Folded =>
    foldLaterModels(machine, unit, reportOf(unit.invocationId, ...lines), progress)
