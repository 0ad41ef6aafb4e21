import { MachineError } from '../errors.ts'
import type { Fetcher } from '../host/model-ports.ts'
import type { FreeSpace } from '../host/ports.ts'
import { createHeartbeat, type InstallContext, mapLimited } from '../install/context.ts'
import type { WorkGroup } from './group-works.ts'
import { openLook } from './look.ts'
import { toStoreFailure } from './store-failure.ts'

/** Space that is left free on the models' volume. */
const RESERVE_BYTES = 64 * 1024 * 1024
/** A download is the file and the map of what has arrived of it. */
const FILES_EACH = 2
const ASKED_AT_ONCE = 16

/** What a volume must take of one download. */
export interface SpaceNeed {
  /** Size of the whole file; 0 when nobody tells. */
  readonly bytes: number
  /** Bytes of it that the volume has already. */
  readonly partBytes: number
  /** A part of it is there. */
  readonly isBegun: boolean
}

/** What a volume must still take, from the sizes that are known. */
export function sumNeeds(needs: readonly SpaceNeed[]): FreeSpace {
  return needs.reduce(
    (sum, { bytes, partBytes, isBegun }) => ({
      bytes: sum.bytes + Math.max(0, bytes - partBytes),
      inodes: sum.inodes + (isBegun ? 0 : FILES_EACH),
    }),
    { bytes: 0, inodes: 0 },
  )
}

/** Why a volume cannot take what is needed, as `N models need …`; undefined when it can. */
export function shortageOf(needed: FreeSpace, free: FreeSpace): string | undefined {
  const gb = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`
  if (needed.bytes > 0 && needed.bytes + RESERVE_BYTES > free.bytes)
    return `need ${gb(needed.bytes)} of the ${gb(free.bytes)} that are left`
  return needed.inodes > free.inodes ? `need ${needed.inodes} inodes of the ${free.inodes} that are left` : undefined
}

/** Sizes of groups in bytes; 0 when nobody tells. */
export type Sizes = ReadonlyMap<WorkGroup, number>

/** Sizes from what the models say, else from their sources, 16 asked at once. */
export async function askSizes(
  context: InstallContext,
  fetcher: Pick<Fetcher, 'sizeOf'>,
  groups: readonly WorkGroup[],
): Promise<Sizes> {
  const { host } = context
  const beat = createHeartbeat(host)
  const sizes = new Map(groups.map((group) => [group, declaredSize(group)]))
  const unknown = groups.filter((group) => sizes.get(group) === 0)
  if (unknown.length > 0) host.notify.status(`asking for the size of ${unknown.length} models`)
  await mapLimited(unknown, ASKED_AT_ONCE, async (group) => {
    const size = await fetcher.sizeOf(group.sources)
    if (size === null) return
    beat()
    sizes.set(group, size)
  })
  return sizes
}

function declaredSize({ bytes, works }: WorkGroup): number {
  return bytes ?? Math.max(...works.map(({ model }) => model.estimatedBytes))
}

/** What the volume must take of each group. */
export async function readNeeds(
  { host }: InstallContext,
  groups: readonly WorkGroup[],
  sizes: Sizes,
): Promise<ReadonlyMap<WorkGroup, SpaceNeed>> {
  const look = openLook(host.files)
  const needs = groups.map(async (group) => {
    const part = await look.stat(group.partial)
    // The file has its whole size from the beginning, and holes where nothing has arrived.
    const partBytes = part === undefined ? 0 : (part.allocatedBytes ?? part.bytes)
    return [group, { bytes: sizes.get(group) ?? 0, partBytes, isBegun: part !== undefined }] as const
  })
  return new Map(await Promise.all(needs))
}

/**
 * Sees that the models' volume has bytes and inodes for all downloads before the first byte comes; resolves to the most bytes
 * that a download of unknown size may have. Throws CM1806, and CM0401 where the folder cannot be used.
 */
export async function checkSpace(context: InstallContext, groups: readonly WorkGroup[], sizes: Sizes): Promise<number> {
  const { models } = context.plan.paths
  try {
    const needs = await readNeeds(context, groups, sizes)
    const needed = sumNeeds([...needs.values()])
    const free = await context.host.files.freeSpace(models)
    const shortage = shortageOf(needed, free)
    if (shortage !== undefined) throw new MachineError('CM1806', `${groups.length} models ${shortage} on ${models}`)
    return Math.max(1, free.bytes - RESERVE_BYTES - needed.bytes)
  } catch (error) {
    throw toStoreFailure(error, models)
  }
}
