import type { MachineError } from '../errors.ts'
import type { Placement } from '../host/model-ports.ts'
import type { WantedModel } from '../install/components.ts'
import { type InstallContext, note, reportChild, spanOf } from '../install/context.ts'
import type { ReportedAttempt } from '../report.ts'
import type { FileState, ModelAction, VerifiedFile } from './model-plan.ts'
import { hostOf } from './model-sources.ts'

const MIB = 1024 * 1024

/** One model on its way; `error` is set when it failed. */
export interface ModelWork {
  readonly model: WantedModel
  /** Declared, or what its URL served first where nothing is declared; null when nobody knows. */
  readonly wanted: Pick<WantedModel, 'bytes' | 'sha256'>
  /** The wanted hash is what its URL served first. */
  readonly isPinned: boolean
  readonly destination: string
  /** The file that is there, and what is recorded of it. */
  readonly file: FileState | undefined
  readonly known: VerifiedFile | undefined
  /** What an earlier version has left beside it. */
  readonly oldParts: readonly string[]
  /** A file that is not what it should be is downloaded after all. */
  action: ModelAction
  startUs: number
  state: 'done' | 'skipped' | 'failed'
  bytes: number
  resumed: number
  /** Hash of the file as it is, where somebody computed it. */
  sha256: string | null
  /** Host that the bytes came from. */
  host: string | null
  placement: Placement | undefined
  tries: number
  readonly attempts: ReportedAttempt[]
  error: MachineError | undefined
  isReported: boolean
}

/** True for a model for which something in the models folder is to be changed or read. */
export function needsStore({ model, action, error }: ModelWork): boolean {
  return model.path !== null && action !== 'keep' && error === undefined
}

/** The fields of a journal line about one model. */
export function modelFields(context: InstallContext, model: WantedModel): Readonly<Record<string, string>> {
  return { COMFY_MODEL: model.name, SPAN_ID: spanOf(context, keyOf(model)) }
}

/** Records one model whose work ended at `endUs`. */
export function endChild(context: InstallContext, work: ModelWork, endUs = context.host.clock.nowUs()): void {
  const { model, wanted, error, startUs, bytes, resumed, attempts, action, placement } = work
  const state = error === undefined ? work.state : 'failed'
  const us = endUs - startUs
  work.isReported = true
  const host = work.host ?? hostOf(model.url)
  const seconds = Math.round(us / 1000) / 1000
  const isRated = action === 'download' && state === 'done' && us > 0
  const rate = isRated ? ((bytes - resumed) / MIB / us) * 1e6 : undefined
  reportChild(context, {
    name: `model ${model.name}`,
    key: keyOf(model),
    startUs,
    endUs,
    state,
    attributes: {
      'model.name': model.name,
      'model.path': model.path ?? '',
      'model.action': action,
      ...(host === null ? {} : { 'model.source': host }),
      'model.bytes': bytes,
      'model.resumed_bytes': resumed,
      'model.seconds': seconds,
      ...(rate === undefined ? {} : { 'model.mib_per_s': Math.round(rate * 100) / 100 }),
      ...(placement === undefined ? {} : { 'model.placement': placement }),
      ...(work.sha256 === null ? {} : { 'model.sha256': work.sha256 }),
      ...(wanted.sha256 === null ? {} : { 'model.sha256_expected': wanted.sha256 }),
      'model.verified': wanted.sha256 !== null && wanted.sha256 === work.sha256,
      'model.pinned': work.isPinned,
      'model.attempts': work.tries,
    },
    attempts,
    ...(error === undefined ? {} : { error }),
  })
  if (state === 'skipped') return
  const fields = { ...modelFields(context, model), COMFY_STATE: state }
  if (error !== undefined) {
    note(context, error.message, 'err', { ...fields, COMFY_ERROR_CODE: error.code, COMFY_ERROR_TYPE: error.type })
    return
  }
  const what = {
    keep: 'is there',
    place: 'is put in its place out of the store',
    verify: 'is there and verified',
    download: `is downloaded, ${bytes} bytes in ${seconds} s`,
  }
  note(context, `model ${model.name} ${what[action]}`, 'info', fields)
}

// Two models may have one name in different folders.
function keyOf(model: WantedModel): string {
  return model.path ?? model.name
}
