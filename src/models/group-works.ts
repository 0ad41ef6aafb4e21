import { join } from 'node:path'
import type { ModelSource } from '../host/model-ports.ts'
import type { InstallContext } from '../install/context.ts'
import { storeOf } from '../plan/places.ts'
import { sourcesOf } from './model-sources.ts'
import type { ModelWork } from './model-work.ts'

/** Models that one download brings: those of one hash, or of one URL where no hash is known. */
export interface WorkGroup {
  readonly works: readonly [ModelWork, ...ModelWork[]]
  readonly sha256: string | null
  readonly sources: readonly ModelSource[]
  /** Exact size; null where it is not known, or two models say different ones. */
  readonly bytes: number | null
  /** Path of the download while it is not whole. */
  readonly partial: string
}

/** Name of the partial file of a model: its hash, or a hash of its URL. */
export function partialName(
  { sha256, url }: { readonly sha256: string | null; readonly url: string | null },
  digest: (text: string) => string,
): string {
  return sha256 ?? `url-${digest(url ?? '')}`
}

/** Downloads, each of them once. */
export function groupWorks({ plan, host }: InstallContext, works: readonly ModelWork[]): readonly WorkGroup[] {
  const groups = new Map<string, [ModelWork, ...ModelWork[]]>()
  for (const work of works) {
    const name = partialName({ ...work.model, ...work.wanted }, host.digest)
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [work])
    else group.push(work)
  }
  return [...groups].map(([name, members]): WorkGroup => {
    const sizes = new Set(members.flatMap(({ wanted }) => wanted.bytes ?? []))
    const [only] = sizes
    return {
      works: members,
      sha256: members[0].wanted.sha256,
      sources: uniqueSources(
        members.flatMap(({ model, wanted }) => sourcesOf({ ...model, ...wanted }, plan, host.secrets)),
      ),
      bytes: sizes.size === 1 ? (only ?? null) : null,
      partial: join(storeOf(plan.paths.models).partial, name),
    }
  })
}

/** Every URL once, with a token where one of the models has one; mirrors are the same for all and stay first. */
function uniqueSources(sources: readonly ModelSource[]): readonly ModelSource[] {
  const byUrl = new Map<string, ModelSource>()
  for (const source of sources) {
    const known = byUrl.get(source.url)
    if (known === undefined || (known.token === null && source.token !== null)) byUrl.set(source.url, source)
  }
  return [...byUrl.values()]
}
