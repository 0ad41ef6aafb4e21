import { basename, join } from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import type { Files } from '../host/ports.ts'
import { COMPONENTS_FILE, NEXT_COMPONENTS_FILE, type WantedModel } from '../install/components.ts'
import { parseRecord } from '../install/context.ts'
import { isGenerationId } from '../install/generation.ts'
import { COMPLETE_FILE, LOCK_FILE, placesOf } from '../plan/places.ts'
import { partialName } from './group-works.ts'
import type { ModelIndex } from './model-plan.ts'

/** Whose claims are what the machine wants now. */
export const MACHINE = 'machine'
const UPDATE = 'update'

/** Somebody wants a model. */
export interface Claim {
  /** `machine`, `update` for what an update wants that is under way, or the id of a generation. */
  readonly by: string
  readonly model: WantedModel
}

/** Everything that is wanted on a machine. */
export interface Claims {
  readonly claims: readonly Claim[]
  /** Who could be asked: `machine`, `update`, ids of generations. */
  readonly asked: readonly string[]
  /** Files that would say more and cannot be read, with the reason. */
  readonly unreadable: readonly string[]
}

/** What the claims come to. Whatever is named here stays. */
export interface Reach {
  /** Files of the models folder, relative to it. */
  readonly paths: ReadonlySet<string>
  /** Names of models of which nobody says where they lie. */
  readonly names: ReadonlySet<string>
  /** sha256 of contents. */
  readonly hashes: ReadonlySet<string>
  /** Keys of downloads that may be gone on with. */
  readonly keys: ReadonlySet<string>
}

/** Keys that the download of a model may have: of what is wanted now, and of when nobody knew its hash. */
export function partialKeys(
  { url, sha256 }: Pick<WantedModel, 'url' | 'sha256'>,
  digest: (text: string) => string,
): readonly string[] {
  const hashes = url === null ? [sha256] : [sha256, null]
  return hashes.flatMap((hash) => (url === null && hash === null ? [] : partialName({ url, sha256: hash }, digest)))
}

/** What is reached from claims: by path, by hash, and where no hash is declared by what was verified of it before. */
export function reachOf(claims: readonly Claim[], index: ModelIndex['files'], digest: (text: string) => string): Reach {
  const models = claims.map(({ model }) => model)
  const paths = new Set(models.flatMap(({ path }) => path ?? []))
  const names = new Set(models.flatMap(({ path, name }) => (path === null ? [name] : [])))
  const sources = new Set(models.flatMap(({ url }) => (url === null ? [] : [digest(url)])))
  const known = Object.entries(index).filter(
    ([path, { source }]) =>
      paths.has(path) || names.has(basename(path)) || (source !== undefined && sources.has(source)),
  )
  const hashes = [...models, ...known.map(([, file]) => file)].flatMap(({ sha256 }) => sha256 ?? [])
  const keys = models.flatMap((model) => partialKeys(model, digest))
  return { paths, names, hashes: new Set(hashes), keys: new Set([...keys, ...hashes]) }
}

/** Tells whether a file of the models folder is wanted, wherever its model may lie. */
export function isReached(path: string, { paths, names }: Reach): boolean {
  return paths.has(path) || names.has(basename(path))
}

/**
 * Reads what the machine wants, what an update wants, and what the generations want that are whole or that a pointer names.
 */
export async function readClaims(files: Files, workspace: string): Promise<Claims> {
  const { home, generations } = placesOf(workspace)
  const named = await readNamed(files, home)
  const ids = new Set([...(await files.list(generations)), ...named].filter(isGenerationId))
  const none: Claims = { claims: [], asked: [], unreadable: [] }
  const read = async (by: string, path: string, mustBe: boolean): Promise<Claims> => {
    try {
      const text = await files.readForeign(path)
      if (text === undefined && !mustBe) return none
      const models = parseRecord<{ readonly schema: 1; readonly models?: readonly WantedModel[] }>(text)?.models
      if (models === undefined) return { ...none, unreadable: [`${path} is not what it is to be`] }
      return { ...none, claims: models.map((model) => ({ by, model })), asked: [by] }
    } catch (error) {
      return { ...none, unreadable: [`${path}: ${messageOf(error)}`] }
    }
  }
  const all = await Promise.all([
    read(MACHINE, join(workspace, COMPONENTS_FILE), false),
    read(UPDATE, join(workspace, NEXT_COMPONENTS_FILE), false),
    ...[...ids].sort().map(async (id) => {
      const directory = join(generations, id)
      const isWhole = (await files.lstat(join(directory, COMPLETE_FILE))) !== undefined
      if (!isWhole && !named.has(id)) return none
      return read(id, join(directory, LOCK_FILE), isWhole)
    }),
  ])
  return {
    claims: all.flatMap(({ claims }) => claims),
    asked: all.flatMap(({ asked }) => asked),
    unreadable: all.flatMap(({ unreadable }) => unreadable),
  }
}

/**
 * What the machine wants and what the last update wanted, each path once: the newer of the two counts. Undefined when the
 * machine has not asked yet.
 */
export async function readWanted(files: Files, workspace: string): Promise<readonly WantedModel[] | undefined> {
  const { claims, asked } = await readClaims(files, workspace)
  if (!asked.includes(MACHINE)) return undefined
  const times = await Promise.all(
    [COMPONENTS_FILE, NEXT_COMPONENTS_FILE].map(
      async (name) => (await files.lstat(join(workspace, name)))?.mtimeMs ?? 0,
    ),
  )
  const isUpdateNewer = (times[1] ?? 0) > (times[0] ?? 0)
  const order = isUpdateNewer ? [MACHINE, UPDATE] : [UPDATE, MACHINE]
  const models = order.flatMap((who) => claims.filter(({ by }) => by === who).map(({ model }) => model))
  return [...new Map(models.map((model) => [model.path ?? `name ${model.name}`, model])).values()]
}

/** Throws CM0003 unless it is known for certain what is wanted: nothing may be removed on a guess. */
export function requireCertain({ asked, unreadable }: Claims, workspace: string): void {
  const [first] = unreadable
  if (first !== undefined) {
    throw new MachineError('CM0003', `what is wanted is not known: ${first}`, {
      hint: 'Correct or remove the file; a start of the machine writes it anew.',
    })
  }
  if (asked.length === 0)
    throw new MachineError('CM0003', `what is wanted is not known: nothing is installed in ${workspace}`)
}

async function readNamed(files: Files, home: string): Promise<ReadonlySet<string>> {
  const pointers = (await files.list(home)).filter((name) => /^(current|next|gpu\d+)$/.test(name))
  const targets = await Promise.all(pointers.map((name) => files.readLink(join(home, name))))
  return new Set(targets.flatMap((target) => (target === undefined ? [] : basename(target))))
}
