import { join } from 'node:path'
import { MachineError, toMachineError } from '../errors.ts'
import type { Fetcher, StoreFiles } from '../host/model-ports.ts'
import { markAttempt, reportAttempt } from '../install/context.ts'
import { storeOf } from '../plan/places.ts'
import type { WorkGroup } from './group-works.ts'
import type { Meter } from './model-meter.ts'
import { hostOf } from './model-sources.ts'
import { endChild, type ModelWork, modelFields } from './model-work.ts'
import { type Content, type Placing, placeWork } from './place-work.ts'
import { toStoreFailure } from './store-failure.ts'

/** What downloads a group. */
export interface Fetching extends Placing {
  readonly fetcher: Pick<Fetcher, 'fetch'>
  readonly store: Pick<StoreFiles, 'place' | 'seal'>
}

/** A download and its size in bytes, 0 when nobody tells; then no more than `mostBytes` are taken. */
export interface PlannedFetch {
  readonly group: WorkGroup
  readonly size: number
  readonly mostBytes: number
}

/** Brings the models of a group with one download into the store and from there to their places. A failure becomes the models'. */
export async function fetchGroup(run: Fetching, meter: Meter, planned: PlannedFetch): Promise<void> {
  const { context } = run
  const [first, ...others] = planned.group.works
  const { name } = first.model
  for (const work of planned.group.works) work.startUs = context.host.clock.nowUs()
  // They are no downloads of their own.
  for (const work of others) work.action = 'place'
  try {
    const content = await fetchBlob(run, meter, planned)
    for (const work of planned.group.works) {
      if (work !== first) work.startUs = context.host.clock.nowUs()
      await placeWork(run, work, content, () => undefined).catch((error: unknown) => fail(work, name, error))
      context.host.signal.throwIfAborted()
    }
  } catch (error) {
    context.host.signal.throwIfAborted()
    for (const work of planned.group.works) fail(work, name, error)
  }
  for (const work of planned.group.works) endChild(context, work)
  meter.count(planned.group.works.length)
}

async function fetchBlob(
  { context, fetcher, store }: Fetching,
  meter: Meter,
  { group, size, mostBytes }: PlannedFetch,
): Promise<Content> {
  const { works, partial, sha256, sources, bytes } = group
  const [first] = works
  const fields = modelFields(context, first.model)
  const file = meter.begin(first.model.name, size === 0 ? undefined : size)
  try {
    const fetched = await fetcher.fetch({
      ...{ name: first.model.name, partial, sources, bytes, mostBytes, sha256 },
      onBytes: file.add,
      onResume: file.resume,
      onRetry: (error, attempted) => {
        first.tries = attempted + 1
        first.attempts.push(reportAttempt(context, toMachineError(error), attempted, fields))
      },
    })
    first.resumed = fetched.resumed
    first.tries = fetched.attempts
    first.host = fetched.host
    await store.seal(partial, join(storeOf(context.plan.paths.models).blobs, fetched.sha256))
    return fetched
  } catch (error) {
    throw toStoreFailure(error, partial)
  } finally {
    file.finish()
  }
}

function fail(work: ModelWork, asked: string, thrown: unknown): void {
  const failure = naming(work, asked, toMachineError(thrown, 'CM1801'))
  markAttempt(failure, work.tries)
  work.error = failure
}

// The fetcher knows hosts, files and the first model; people look for theirs.
function naming({ model, isPinned }: ModelWork, asked: string, failure: MachineError): MachineError {
  const { code, type, hint, message } = failure
  const said = [`model ${asked}`, asked].find((start) => message.startsWith(`${start}: `))
  const text = `model ${model.name}: ${said === undefined ? message : message.slice(said.length + 2)}`
  if (!isPinned || type !== 'checksum_mismatch') return new MachineError(code, text, { cause: failure, type, hint })
  return new MachineError(code, `${text}, as ${hostOf(model.url) ?? 'its source'} served it first`, {
    cause: failure,
    type,
    hint: `Find out why it has changed; comfy-machine models pull --accept ${model.name} takes the new one.`,
  })
}
