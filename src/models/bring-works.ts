import { join } from 'node:path'
import { MachineError, toMachineError } from '../errors.ts'
import type { Fetcher, StoreFiles } from '../host/model-ports.ts'
import { type InstallContext, mapLimited, note } from '../install/context.ts'
import { storeOf } from '../plan/places.ts'
import { fetchGroup } from './fetch-group.ts'
import { groupWorks, type WorkGroup } from './group-works.ts'
import type { StoreHold } from './hold-store.ts'
import type { OpenIndex } from './model-index.ts'
import { createMeter, type Meter } from './model-meter.ts'
import { isSameState } from './model-plan.ts'
import { sourcesOf } from './model-sources.ts'
import { endChild, type ModelWork, modelFields } from './model-work.ts'
import { placeWork } from './place-work.ts'
import { askSizes, checkSpace, type Sizes } from './preflight.ts'
import { toStoreFailure } from './store-failure.ts'

const FETCHED_AT_ONCE = 64
const READ_AT_ONCE = 4

/** What brings models: a store that is held, its index, and the world outside. */
export interface Bringing {
  readonly context: InstallContext
  readonly fetcher: Fetcher
  readonly store: StoreFiles
  readonly index: OpenIndex
  readonly hold: StoreHold
  /** Directories that are known to be there. */
  readonly made: Set<string>
}

/**
 * Does what is planned for every model; a failure becomes the model's. Throws CM1806 before the first byte when all of them
 * together do not fit.
 */
export async function bringWorks(run: Bringing, works: readonly ModelWork[]): Promise<void> {
  const { context, fetcher, hold } = run
  const of = (action: ModelWork['action']): readonly ModelWork[] => works.filter((work) => work.action === action)
  const [places, verifies, downloads] = [of('place'), of('verify'), of('download')]
  const groups = groupWorks(context, downloads)
  const sizes = await askSizes(context, fetcher, groups)
  const mostBytes = await checkSpace(context, groups, sizes)
  const meter = createMeter(context, works.length, () => hold.touch())
  try {
    meter.expect(sumOf(groups, sizes, verifies))
    const read = new Set(verifies.map(({ wanted }) => wanted.sha256))
    const isRead = ({ sha256 }: WorkGroup): boolean => sha256 !== null && read.has(sha256)
    const fetchAll = (some: readonly WorkGroup[], most: number): Promise<unknown> =>
      mapLimited(some, FETCHED_AT_ONCE, (group) =>
        fetchGroup(run, meter, { group, size: sizes.get(group) ?? 0, mostBytes: most }),
      )
    await Promise.all([
      mapLimited(places, FETCHED_AT_ONCE, (work) => place(run, work, meter)),
      mapLimited(verifies, READ_AT_ONCE, (work) => verify(run, work, meter)),
      fetchAll(
        groups.filter((group) => !isRead(group)),
        mostBytes,
      ),
    ])
    const rest = [...groups.filter(isRead).flatMap((group) => group.works), ...verifies.filter(isToDownload)]
    if (rest.length > 0) await bringRest(run, rest, { meter, groups, sizes, verifies })
  } finally {
    meter.stop()
  }
}

interface Begun {
  readonly meter: Meter
  readonly groups: readonly WorkGroup[]
  readonly sizes: Sizes
  readonly verifies: readonly ModelWork[]
}

/** What depended on files that had to be read: some of it is in the store now, the rest is downloaded. */
async function bringRest(run: Bringing, rest: readonly ModelWork[], begun: Begun): Promise<void> {
  const { context, fetcher } = run
  const { files } = context.host
  const { blobs } = storeOf(context.plan.paths.models)
  for (const work of rest) {
    const { sha256 } = work.wanted
    if (sha256 !== null && (await files.stat(join(blobs, sha256))) !== undefined) work.action = 'place'
  }
  await mapLimited(
    rest.filter((work) => !isToDownload(work)),
    FETCHED_AT_ONCE,
    (work) => place(run, work, begun.meter),
  )
  const groups = groupWorks(context, rest.filter(isToDownload))
  const sizes = await askSizes(context, fetcher, groups)
  const read = begun.verifies.filter((work) => !isToDownload(work))
  const others = begun.groups.filter(({ works }) => !works.some((work) => rest.includes(work)))
  begun.meter.expect(sumOf([...others, ...groups], new Map([...begun.sizes, ...sizes]), read))
  const mostBytes = await checkSpace(context, groups, sizes)
  await mapLimited(groups, FETCHED_AT_ONCE, (group) =>
    fetchGroup(run, begun.meter, { group, size: sizes.get(group) ?? 0, mostBytes }),
  )
}

const isToDownload = ({ action, error }: ModelWork): boolean => action === 'download' && error === undefined

/** Bytes that are downloaded or read in all; undefined when the size of one is not known. */
function sumOf(groups: readonly WorkGroup[], sizes: Sizes, read: readonly ModelWork[]): number | undefined {
  const all = [...groups.map((group) => sizes.get(group) ?? 0), ...read.map(({ file }) => file?.bytes ?? 0)]
  return all.includes(0) ? undefined : all.reduce((sum, size) => sum + size, 0)
}

async function place(run: Bringing, work: ModelWork, meter: Meter): Promise<void> {
  const { context, hold } = run
  work.startUs = context.host.clock.nowUs()
  await attempt(context, work, () =>
    placeWork(run, work, { sha256: work.wanted.sha256 ?? '', bytes: null }, () => hold.touch()),
  )
  meter.count(1)
}

/** Reads a file that is there. One that is not what it should be is left to be downloaded. */
async function verify(run: Bringing, work: ModelWork, meter: Meter): Promise<void> {
  const { context } = run
  work.startUs = context.host.clock.nowUs()
  const file = meter.begin(work.model.name, work.file?.bytes)
  await attempt(context, work, () => compare(run, work, file.add))
  file.finish()
  if (isToDownload(work)) file.add(-(work.file?.bytes ?? 0))
  else meter.count(1)
}

async function compare(run: Bringing, work: ModelWork, onBytes: (count: number) => void): Promise<void> {
  const { context, store, index } = run
  const { model, wanted, destination, known } = work
  const { blobs } = storeOf(context.plan.paths.models)
  const { files, secrets } = context.host
  const before = await files.stat(destination)
  const sha256 = await store.hash(destination, onBytes).catch((error: unknown) => {
    throw toStoreFailure(error, destination)
  })
  work.sha256 = sha256
  if (before !== undefined && (wanted.sha256 === null || sha256 === wanted.sha256)) {
    await store.adopt(destination, join(blobs, sha256)).catch((error: unknown) => {
      throw toStoreFailure(error, destination)
    })
    const kept = known?.sha256 === sha256 ? known : undefined
    index.record(model.path ?? '', { ...kept, bytes: before.bytes, mtimeMs: before.mtimeMs, sha256 })
    return
  }
  if (sourcesOf({ ...model, ...wanted }, context.plan, secrets).length === 0)
    throw new MachineError('CM1804', `${destination}: sha256 is ${sha256}, expected ${wanted.sha256}`)
  note(
    context,
    `${destination} does not have the expected sha256 and is downloaded anew`,
    'warning',
    modelFields(context, model),
  )
  work.action = 'download'
  // The same file under its name in the store: what was verified there is no more.
  const blob = join(blobs, wanted.sha256 ?? '')
  const there = wanted.sha256 === null ? undefined : await files.stat(blob)
  if (there !== undefined && before !== undefined && isSameState(there, before)) await files.remove(blob)
}

async function attempt(context: InstallContext, work: ModelWork, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch (error) {
    context.host.signal.throwIfAborted()
    work.error = toMachineError(error, 'CM0401')
  }
  if (!isToDownload(work)) endChild(context, work)
}
