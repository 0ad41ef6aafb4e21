import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { WantedModel } from '../install/components.ts'
import { type InstallContext, note, reportChild, reportFacts, spanOf } from '../install/context.ts'
import type { ReportedAttempt } from '../report.ts'
import { type ModelAction, planModel, type VerifiedFile } from './model-plan.ts'

const MIB = 1024 * 1024

/** One model on its way; `error` is set when it failed. */
export interface ModelWork {
  readonly model: WantedModel
  readonly destination: string
  readonly action: ModelAction
  startUs: number
  state: 'done' | 'skipped' | 'failed'
  bytes: number
  resumed: number
  /** Hash of the file as it is, where somebody computed it. */
  sha256: string | null
  tries: number
  readonly attempts: ReportedAttempt[]
  error: MachineError | undefined
  isReported: boolean
}

/** What is to be done for one model. */
export async function planWork(
  context: InstallContext,
  known: ReadonlyMap<string, VerifiedFile>,
  model: WantedModel,
): Promise<ModelWork> {
  const { plan, host } = context
  const startUs = host.clock.nowUs()
  const none = { bytes: 0, resumed: 0, sha256: null, tries: 1, attempts: [], error: undefined, isReported: false }
  const base = { ...none, model, startUs }
  if (model.path === null) {
    const error =
      model.url === null ? undefined : new MachineError('CM1807', `model ${model.name} has a URL and no saveTo`)
    return { ...base, destination: '', action: 'verify', state: 'done', error }
  }
  const destination = join(plan.paths.models, model.path)
  const file = await host.files.stat(destination)
  const action = planModel(model, file, known.get(model.path))
  const missing =
    action === 'download' && model.url === null
      ? new MachineError('CM1807', `model ${model.path} has no URL and is not there`)
      : undefined
  return {
    ...base,
    destination,
    action,
    state: action === 'keep' ? 'skipped' : 'done',
    bytes: file?.bytes ?? 0,
    sha256: action === 'keep' ? (known.get(model.path)?.sha256 ?? null) : null,
    error: missing,
  }
}

/** The fields of a journal line about one model. */
export function modelFields(context: InstallContext, model: WantedModel): Readonly<Record<string, string>> {
  return { COMFY_MODEL: model.name, SPAN_ID: spanOf(context, keyOf(model)) }
}

/** Records one model whose work ended at `endUs`. */
export function endChild(context: InstallContext, work: ModelWork, endUs = context.host.clock.nowUs()): void {
  const { model, error, startUs, bytes, resumed, attempts } = work
  const state = error === undefined ? work.state : 'failed'
  const us = endUs - startUs
  work.isReported = true
  // No more of it: user, path and query may be secret.
  const host = model.url !== null && URL.canParse(model.url) ? new URL(model.url).host : undefined
  const seconds = Math.round(us / 1000) / 1000
  const rate =
    work.action === 'download' && state === 'done' && us > 0 ? ((bytes - resumed) / MIB / us) * 1e6 : undefined
  reportChild(context, {
    name: `model ${model.name}`,
    key: keyOf(model),
    startUs,
    endUs,
    state,
    attributes: {
      'model.name': model.name,
      'model.path': model.path ?? '',
      'model.action': work.action,
      ...(host === undefined ? {} : { 'model.source': host }),
      'model.bytes': bytes,
      'model.resumed_bytes': resumed,
      'model.seconds': seconds,
      ...(rate === undefined ? {} : { 'model.mib_per_s': Math.round(rate * 100) / 100 }),
      ...(work.sha256 === null ? {} : { 'model.sha256': work.sha256 }),
      ...(model.sha256 === null ? {} : { 'model.sha256_expected': model.sha256 }),
      'model.verified': model.sha256 !== null && model.sha256 === work.sha256,
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
  const what = work.action === 'verify' ? 'is there and verified' : `is downloaded, ${bytes} bytes in ${seconds} s`
  note(context, `model ${model.name} ${what}`, 'info', fields)
}

/** Records what is left to tell of all models and their sum. Throws the first failure. */
export function finish(context: InstallContext, works: readonly ModelWork[]): void {
  const failed = works.filter(({ error }) => error !== undefined)
  for (const work of works.filter(({ isReported }) => !isReported)) endChild(context, work, work.startUs)
  const brought = works.filter(
    ({ state, error, action }) => state === 'done' && error === undefined && action === 'download',
  )
  reportFacts(context, {
    'models.wanted': works.length,
    'models.downloaded': brought.length,
    'models.downloaded_bytes': brought.reduce((sum, { bytes, resumed }) => sum + bytes - resumed, 0),
    'models.unchanged': works.length - brought.length - failed.length,
    'models.failed': failed.length,
  })
  const summary = `${brought.length} models downloaded, ${works.length - brought.length - failed.length} unchanged, ${failed.length} failed`
  note(context, summary)
  context.host.notify.status(summary)
  const errors = failed.flatMap(({ error }) => error ?? [])
  const [first] = errors
  if (first === undefined) return
  const text = errors.map(({ message }) => message).join('; ')
  throw new MachineError(first.code, text, { cause: first, type: first.type, hint: first.hint })
}

// Two models may have one name in different folders.
function keyOf(model: WantedModel): string {
  return model.path ?? model.name
}
