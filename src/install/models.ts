import { basename, join } from 'node:path'
import { MachineError, toMachineError } from '../errors.ts'
import type { Downloader, Trees } from '../host/install-ports.ts'
import { COMPONENTS_FILE, type Components, type WantedModel } from './components.ts'
import {
  type InstallContext,
  mapLimited,
  markAttempt,
  note,
  parseRecord,
  reportAttempt,
  reportChild,
  reportFacts,
} from './context.ts'
import { type OpenIndex, openIndex } from './model-index.ts'
import { createMeter } from './model-meter.ts'
import { type ModelAction, missingBytes, planModel, type VerifiedFile } from './model-plan.ts'

const AT_ONCE = 4
/** Space that is left free on the models' volume. */
const RESERVE_BYTES = 64 * 1024 * 1024

/** What the model installer has beside its context; opened only when something is to be done. */
export interface ModelTools {
  readonly downloader: Downloader
  readonly trees: Trees
}

interface ModelWork {
  readonly model: WantedModel
  readonly destination: string
  readonly action: ModelAction
  startUs: number
  state: 'done' | 'skipped' | 'failed'
  bytes: number
  resumed: number
  error: MachineError | undefined
}

/** Step 18: every wanted model whole and verified under its name. One that fails does not stop the others. */
export async function installModels(context: InstallContext, open: () => Promise<ModelTools>): Promise<void> {
  const { plan, host } = context
  const components = parseRecord<Components>(await host.files.readText(join(plan.paths.workspace, COMPONENTS_FILE)))
  if (components === undefined)
    throw new MachineError('CM0001', `there is no ${COMPONENTS_FILE}; comfy-discover writes it`)
  const index = await openIndex(context)
  const works = await Promise.all(components.models.map((model) => planWork(context, index.files, model)))
  const changed = works.filter(({ state, error }) => state !== 'skipped' && error === undefined)
  if (changed.length > 0) {
    const tools = await open()
    const named = changed.filter(({ model }) => model.path === null)
    if (named.length > 0) await findNamed(plan.paths.models, named, tools.trees)
    const placed = changed.filter(({ model }) => model.path !== null)
    await checkSpace(context, placed)
    const meter = createMeter(host, placed.length, sizeOf(placed))
    try {
      await mapLimited(placed, AT_ONCE, async (work) => {
        await attempt(context, work, () => bring(context, tools.downloader, index, work, meter.add))
        meter.finishOne()
      })
    } finally {
      meter.stop()
    }
  }
  finish(context, works)
}

async function planWork(
  context: InstallContext,
  known: ReadonlyMap<string, VerifiedFile>,
  model: WantedModel,
): Promise<ModelWork> {
  const { plan, host } = context
  const startUs = host.clock.nowUs()
  const base = { model, startUs, bytes: 0, resumed: 0, error: undefined }
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
    error: missing,
  }
}

/** Models that are only named must be somewhere in the models folder. */
async function findNamed(models: string, works: readonly ModelWork[], trees: Trees): Promise<void> {
  const names = new Set((await trees.listFiles(models)).map((path) => basename(path)))
  for (const work of works) {
    if (names.has(work.model.name)) work.state = 'skipped'
    else work.error = new MachineError('CM1807', `model ${work.model.name} has no URL and is not there`)
  }
}

async function checkSpace(context: InstallContext, works: readonly ModelWork[]): Promise<void> {
  const { files } = context.host
  const { models } = context.plan.paths
  const downloads = works.filter(({ action }) => action === 'download')
  if (downloads.length === 0) return
  await files.makeDirectory(models)
  const parts = await Promise.all(
    downloads.map(async ({ model, destination }) => ({
      estimatedBytes: model.estimatedBytes,
      partBytes: (await files.stat(`${destination}.part`))?.bytes ?? 0,
    })),
  )
  const needed = missingBytes(parts)
  const free = (await files.freeSpace(models)).bytes
  if (needed + RESERVE_BYTES <= free || needed === 0) return
  const gb = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`
  throw new MachineError('CM1806', `${downloads.length} models need ${gb(needed)} and ${models} has ${gb(free)} left`)
}

async function bring(
  context: InstallContext,
  downloader: Downloader,
  index: OpenIndex,
  work: ModelWork,
  onBytes: (count: number) => void,
): Promise<void> {
  const { clock, files } = context.host
  const { model, destination } = work
  work.startUs = clock.nowUs()
  if (work.action === 'verify') {
    const sha256 = model.sha256 === null ? null : await downloader.hash(destination, onBytes)
    if (sha256 === model.sha256) {
      await index.record(model.path ?? '', destination, sha256)
      return
    }
    if (model.url === null)
      throw new MachineError('CM1804', `${destination}: sha256 is ${sha256}, expected ${model.sha256}`)
    note(context, `${destination} does not have the expected sha256 and is downloaded anew`, 'warning')
    onBytes(-((await files.stat(destination))?.bytes ?? 0))
  }
  if (model.url === null) throw new MachineError('CM1807', `model ${model.name} has no URL`)
  let tries = 1
  const pending = downloader.download({
    url: model.url,
    destination,
    bytes: model.bytes,
    sha256: model.sha256,
    token: model.authEnvVar === null ? null : (context.host.secrets.read(model.authEnvVar) ?? null),
    allowInsecure: context.plan.components.allowInsecureSources,
    onBytes,
    onRetry: (error, attempted) => {
      tries = attempted + 1
      reportAttempt(context, toMachineError(error), attempted)
    },
  })
  const result = await pending.catch((error: unknown) => {
    const failure = naming(model.name, toMachineError(error, 'CM1801'))
    markAttempt(failure, tries)
    throw failure
  })
  work.bytes = result.bytes
  work.resumed = result.resumed
  await index.record(model.path ?? '', destination, result.sha256)
}

// The downloader knows hosts and files; people look for the model.
function naming(model: string, failure: MachineError): MachineError {
  const { code, type, hint, message } = failure
  if (message.includes(model)) return failure
  return new MachineError(code, `model ${model}: ${message}`, { cause: failure, type, hint })
}

async function attempt(context: InstallContext, work: ModelWork, run: () => Promise<void>): Promise<void> {
  try {
    await run()
    if (work.state !== 'skipped') endChild(context, work)
  } catch (error) {
    context.host.signal.throwIfAborted()
    work.error = toMachineError(error, 'CM1801')
  }
}

function sizeOf(works: readonly ModelWork[]): number {
  return works.reduce((sum, { model, bytes }) => sum + Math.max(model.estimatedBytes, bytes), 0)
}

function endChild(context: InstallContext, work: ModelWork): void {
  const { model, error, startUs, bytes, resumed } = work
  const state = error === undefined ? work.state : 'failed'
  const seconds = Math.round((context.host.clock.nowUs() - startUs) / 1000) / 1000
  reportChild(context, {
    name: `model ${model.name}`,
    startUs,
    state,
    attributes: {
      'model.name': model.name,
      'model.path': model.path ?? '',
      'model.bytes': bytes,
      'model.sha256': model.sha256 ?? '',
      'model.seconds': seconds,
      'model.resumed': resumed,
      'model.action': work.action,
    },
    ...(error === undefined ? {} : { error }),
  })
  if (state === 'skipped') return
  const fields = { COMFY_MODEL: model.name, COMFY_STATE: state }
  if (error !== undefined) {
    note(context, error.message, 'err', { ...fields, COMFY_ERROR_CODE: error.code, COMFY_ERROR_TYPE: error.type })
    return
  }
  const what = work.action === 'verify' ? 'is there and verified' : `is downloaded, ${bytes} bytes in ${seconds} s`
  note(context, `model ${model.name} ${what}`, 'info', fields)
}

function finish(context: InstallContext, works: readonly ModelWork[]): void {
  const failed = works.filter(({ error }) => error !== undefined)
  const kept = works.filter(({ state, error }) => state === 'skipped' && error === undefined)
  for (const work of [...kept, ...failed]) endChild(context, work)
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
