import { basename } from 'node:path'
import { MachineError, toMachineError } from '../errors.ts'
import type { Downloader, Trees } from '../host/install-ports.ts'
import { COMPONENTS_FILE, readComponents } from '../install/components.ts'
import { type InstallContext, mapLimited, markAttempt, note, reportAttempt, reportFacts } from '../install/context.ts'
import { type OpenIndex, openIndex } from './model-index.ts'
import { createMeter, type Meter } from './model-meter.ts'
import { missingBytes } from './model-plan.ts'
import { endChild, finish, type ModelWork, modelFields, planWork } from './model-work.ts'

const AT_ONCE = 4
/** Space that is left free on the models' volume. */
const RESERVE_BYTES = 64 * 1024 * 1024

/** What the model installer has beside its context; opened only when something is to be done. */
export interface ModelTools {
  readonly downloader: Downloader
  readonly trees: Trees
}

/**
 * Step 18: every wanted model whole and verified under its name; `before` those that the start needs, `after` the others. One
 * that fails does not stop the others.
 */
export async function installModels(
  context: InstallContext,
  open: () => Promise<ModelTools>,
  componentsFile = COMPONENTS_FILE,
  which: 'before' | 'after' = 'before',
): Promise<void> {
  const { plan } = context
  const components = await readComponents(context, componentsFile)
  const wanted = components.models.filter(({ when }) => (when === 'after_start') === (which === 'after'))
  if (which === 'before') reportFacts(context, { 'models.later': components.models.length - wanted.length })
  const index = await openIndex(context)
  const works = await Promise.all(wanted.map((model) => planWork(context, index.files, model)))
  const changed = works.filter(({ state, error }) => state !== 'skipped' && error === undefined)
  if (changed.length > 0) {
    const tools = await open()
    const named = changed.filter(({ model }) => model.path === null)
    if (named.length > 0) await findNamed(plan.paths.models, named, tools.trees)
    const placed = changed.filter(({ model }) => model.path !== null)
    await checkSpace(context, placed)
    const meter = createMeter(context, placed.length, sizeOf(placed))
    try {
      await mapLimited(placed, AT_ONCE, async (work) => {
        meter.begin(work.model.name)
        await attempt(context, work, () => bring(context, tools.downloader, index, work, meter))
        meter.finish(work.model.name)
      })
    } finally {
      meter.stop()
    }
  }
  finish(context, works)
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
  meter: Meter,
): Promise<void> {
  const { clock, files } = context.host
  const { model, destination } = work
  const fields = modelFields(context, model)
  work.startUs = clock.nowUs()
  if (work.action === 'verify') {
    const sha256 = model.sha256 === null ? null : await downloader.hash(destination, meter.add)
    work.sha256 = sha256
    if (sha256 === model.sha256) {
      await index.record(model.path ?? '', destination, sha256)
      return
    }
    if (model.url === null)
      throw new MachineError('CM1804', `${destination}: sha256 is ${sha256}, expected ${model.sha256}`)
    note(context, `${destination} does not have the expected sha256 and is downloaded anew`, 'warning', fields)
    meter.add(-((await files.stat(destination))?.bytes ?? 0))
  }
  if (model.url === null) throw new MachineError('CM1807', `model ${model.name} has no URL`)
  const pending = downloader.download({
    url: model.url,
    destination,
    bytes: model.bytes,
    sha256: model.sha256,
    token: model.authEnvVar === null ? null : (context.host.secrets.read(model.authEnvVar) ?? null),
    allowInsecure: context.plan.components.allowInsecureSources,
    onBytes: meter.add,
    onResume: meter.resume,
    onRetry: (error, attempted) => {
      work.tries = attempted + 1
      work.attempts.push(reportAttempt(context, toMachineError(error), attempted, fields))
    },
  })
  const result = await pending.catch((error: unknown) => {
    const failure = naming(model.name, toMachineError(error, 'CM1801'))
    markAttempt(failure, work.tries)
    throw failure
  })
  work.bytes = result.bytes
  work.resumed = result.resumed
  work.sha256 = result.sha256
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
  } catch (error) {
    context.host.signal.throwIfAborted()
    work.error = toMachineError(error, 'CM1801')
  }
  endChild(context, work)
}

/** Bytes in all; undefined when the size of one is not known. */
function sizeOf(works: readonly ModelWork[]): number | undefined {
  const sizes = works.map(({ model, bytes }) => Math.max(model.estimatedBytes, bytes))
  return sizes.includes(0) ? undefined : sizes.reduce((sum, size) => sum + size, 0)
}
