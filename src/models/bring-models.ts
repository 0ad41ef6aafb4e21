import { basename } from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import type { Trees } from '../host/install-ports.ts'
import type { Fetcher, StoreFiles } from '../host/model-ports.ts'
import type { WantedModel } from '../install/components.ts'
import { type InstallContext, note, PROGRESS_MS } from '../install/context.ts'
import { bringWorks } from './bring-works.ts'
import { describeHolder, holdStore, type StoreHold } from './hold-store.ts'
import { mergeLocks } from './merge-locks.ts'
import { isSameIndex, openIndex, readIndex } from './model-index.ts'
import { type ModelWork, needsStore } from './model-work.ts'
import { planWorks } from './plan-works.ts'

/** What models are brought with beside the context of an installer. */
export interface ModelTools {
  readonly fetcher: Fetcher
  readonly store: StoreFiles
  readonly trees: Trees
}

/** Who brings models and how. */
export interface BringOptions {
  /** What others are told that holds the store, e.g. `comfy-machine install models`. */
  readonly command: string
  /** Waits for another process that works on the models, while that one makes progress. */
  readonly isPatient: boolean
  /** True for a model whose URL may serve another file than at first; it is downloaded anew. */
  readonly accepts?: (model: WantedModel) => boolean
}

/**
 * Brings every wanted model whole and verified under its name; `open` is called only when something is to be done. What
 * became of each stands in the result, also its failure. Throws CM1806 when they do not fit, CM1809, and when stopped.
 */
export async function bringModels(
  context: InstallContext,
  open: () => Promise<ModelTools>,
  wanted: readonly WantedModel[],
  options: BringOptions,
): Promise<readonly ModelWork[]> {
  const before = await readIndex(context)
  const planned = await planWorks(context, before, wanted, options.accepts)
  if (planned.every(({ state, error }) => state === 'skipped' || error !== undefined)) return planned
  const tools = await open()
  if (!planned.some(needsStore)) {
    await findNamed(context, tools.trees, planned)
    return planned
  }
  const hold = await takeStore(context, tools.store, options)
  try {
    const index = await openIndex(context)
    // Whoever held the store meanwhile may have changed everything, and has written that down.
    const isSame = isSameIndex(before, index.files)
    const works = isSame ? planned : await planWorks(context, index.files, wanted, options.accepts)
    await findNamed(context, tools.trees, works)
    await bringWorks({ context, ...tools, index, hold, made: new Set() }, works.filter(needsStore)).finally(() =>
      index.flush(),
    )
    await mergeLocks(context, index.files, wanted)
    return works
  } finally {
    await hold.release()
  }
}

/** Models that are only named must be somewhere in the models folder. */
async function findNamed(context: InstallContext, trees: Trees, works: readonly ModelWork[]): Promise<void> {
  const named = works.filter(({ model, error }) => model.path === null && error === undefined)
  if (named.length === 0) return
  const paths = await trees.listFiles(context.plan.paths.models)
  const names = new Set(paths.filter((path) => !path.startsWith('.store/')).map((path) => basename(path)))
  for (const work of named) {
    if (names.has(work.model.name)) work.state = 'skipped'
    else work.error = new MachineError('CM1807', `model ${work.model.name} has no URL and is not there`)
  }
}

function takeStore(
  context: InstallContext,
  store: StoreFiles,
  { command, isPatient }: BringOptions,
): Promise<StoreHold> {
  const { clock, files, notify, signal } = context.host
  const request = {
    models: context.plan.paths.models,
    command,
    onProblem: (problem: unknown) =>
      note(context, `the lock of the models cannot be touched: ${messageOf(problem)}`, 'warning'),
  }
  const ports = { store, files, clock, signal }
  if (!isPatient) return holdStore(ports, request)
  return holdStore(ports, {
    ...request,
    onWait(holder, isAlive) {
      const text = `waiting for ${describeHolder(holder)}, which works on the models`
      notify.status(text)
      if (isAlive) notify.extend(PROGRESS_MS)
      else note(context, text)
    },
  })
}
