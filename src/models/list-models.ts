import { basename } from 'node:path'
import type { StoredFile } from '../host/inventory-ports.ts'
import { readPins } from './model-plan.ts'
import { type Claim, MACHINE, partialKeys } from './reach.ts'
import { type FolderView, isInStore, isUnchanged, type StoreFacts, viewFolder } from './store-view.ts'

/**
 * Where a model stands. `in_place`: as it was verified. `unverified`: there, and not read since it changed, or never.
 * `stored`: only in the store. `partial`: a part of it has arrived.
 */
export type ModelStanding = 'in_place' | 'unverified' | 'stored' | 'partial' | 'missing'

/** One model of the machine. */
export interface ModelRow {
  readonly name: string
  /** Relative to the models folder; null when nobody says where it lies. */
  readonly path: string | null
  /** Of the file that is there, else as its source says; null when nobody knows. */
  readonly bytes: number | null
  /** Of the file that is there where it is verified, else as it is wanted. */
  readonly sha256: string | null
  readonly state: ModelStanding
  /** Bytes of an unfinished download that have arrived; null where there is none. */
  readonly arrived_bytes: number | null
  /** Its source declares no hash and is held to what it served first. */
  readonly pinned: boolean
  /** `machine`, `update`, ids of generations. */
  readonly wanted_by: readonly string[]
  /** The machine is ready without it. */
  readonly after_start: boolean
}

/** Bytes of a download that have arrived, of all. */
export interface PartialDownload {
  readonly arrived: number
  readonly total: number
}

/** What a list is made of. */
export interface ListFacts extends StoreFacts {
  readonly claims: readonly Claim[]
  /** Downloads that are not whole, by key. */
  readonly partials: ReadonlyMap<string, PartialDownload>
  readonly digest: (text: string) => string
}

/** Every model that is wanted, that was verified, or that lies in the store, sorted by path. */
export function listModels(facts: ListFacts): readonly ModelRow[] {
  const pinOf = readPins(new Map(Object.entries(facts.index)), facts.digest)
  const view: View = { ...facts, ...viewFolder(facts.files), pinOf }
  const byPath = Map.groupBy(facts.claims, ({ model }) => model.path)
  const known = Object.keys(facts.index).filter((path) => view.visible.has(path))
  const paths = new Set([...known, ...[...byPath.keys()].filter((path) => path !== null)])
  const byName = Map.groupBy(byPath.get(null) ?? [], ({ model }) => model.name)
  const rows = [
    ...[...paths].flatMap((path) => rowsOfPath(path, byPath.get(path) ?? [], view)),
    ...[...byName].map(([name, claims]) => rowOfName(name, claims, view)),
  ]
  const shown = new Set(rows.map(({ sha256 }) => sha256))
  const others = [...view.blobs].filter(([hash]) => !shown.has(hash))
  const rest = others.map(([sha256]) => {
    const name = sha256.slice(0, 12)
    return rowOf({ name, path: null, sha256, claims: [], file: undefined, isVerified: false }, view)
  })
  return [...rows, ...rest].toSorted(byPlace)
}

/** Bytes on the disk of the store and of the models that are listed; a file with several names counts once. */
export function sumBytes(files: readonly StoredFile[], rows: readonly ModelRow[]): number {
  const paths = new Set(rows.map(({ path }) => path))
  const counted = files.filter(({ path }) => isInStore(path) || paths.has(path))
  const inodes = new Map(counted.map(({ inode, diskBytes }) => [inode, diskBytes]))
  return [...inodes.values()].reduce((sum, bytes) => sum + bytes, 0)
}

/** The rows that are meant by names, paths or the first digits of hashes; all of them without any. */
export function selectModels<T extends Pick<ModelRow, 'name' | 'path' | 'sha256'>>(
  rows: readonly T[],
  wanted: readonly string[],
): { readonly chosen: readonly T[]; readonly unknown: readonly string[] } {
  const fits = ({ name, path, sha256 }: T, text: string): boolean =>
    name === text || path === text || (/^[0-9a-f]{6,64}$/.test(text) && sha256?.startsWith(text) === true)
  return {
    chosen: wanted.length === 0 ? rows : rows.filter((row) => wanted.some((text) => fits(row, text))),
    unknown: wanted.filter((text) => !rows.some((row) => fits(row, text))),
  }
}

interface View extends ListFacts, FolderView {
  readonly pinOf: ReturnType<typeof readPins>
}

/** A model as some of its claims mean it, with the file that ComfyUI sees of it. */
interface Meant {
  readonly name: string
  readonly path: string | null
  readonly sha256: string | null
  readonly claims: readonly Claim[]
  readonly file: StoredFile | undefined
  readonly isVerified: boolean
}

/** One row for each content that is wanted at a path or is there. */
function rowsOfPath(path: string, claims: readonly Claim[], view: View): readonly ModelRow[] {
  const file = view.visible.get(path)
  const known = view.index[path]
  const hashOf = ({ model }: Claim): string | null => model.sha256 ?? view.pinOf(model)?.sha256 ?? known?.sha256 ?? null
  const contents = Map.groupBy(claims, hashOf)
  const isVerified = file !== undefined && isUnchanged(file, known) && known?.sha256 !== null
  const wanted = claims.find(({ by }) => by === MACHINE) ?? claims[0]
  const found = isVerified ? (known?.sha256 ?? null) : wanted === undefined ? null : hashOf(wanted)
  if (file !== undefined && !contents.has(found)) contents.set(found, [])
  return [...contents].map(([sha256, some]) => {
    const isThere = sha256 === found
    const name = some[0]?.model.name ?? basename(path)
    const meant = { name, path, sha256, claims: some, file: isThere ? file : undefined, isVerified }
    return rowOf(meant, view)
  })
}

/** Where a model lies that is only named is found by its name. */
function rowOfName(name: string, claims: readonly Claim[], view: View): ModelRow {
  const file = [...view.visible.values()].find(({ path }) => basename(path) === name)
  const known = file === undefined ? undefined : view.index[file.path]
  const isVerified = file !== undefined && isUnchanged(file, known) && known?.sha256 !== null
  const sha256 = isVerified ? (known?.sha256 ?? null) : null
  return rowOf({ name, path: file?.path ?? null, sha256, claims, file, isVerified }, view)
}

function rowOf({ name, path, sha256, claims, file, isVerified }: Meant, view: View): ModelRow {
  const keys = claims.flatMap(({ model }) => partialKeys({ url: model.url, sha256 }, view.digest))
  const part = keys.map((key) => view.partials.get(key)).find((each) => each !== undefined)
  const blob = sha256 === null ? undefined : view.blobs.get(sha256)
  const size = claims.map(({ model }) => model.bytes ?? model.estimatedBytes).find((bytes) => bytes > 0)
  const state = standingOf({ file, blob, part, isVerified })
  return {
    name,
    path,
    bytes: file?.bytes ?? blob?.bytes ?? part?.total ?? size ?? null,
    sha256,
    state,
    arrived_bytes: state === 'partial' ? (part?.arrived ?? null) : null,
    pinned: sha256 !== null && claims.some(({ model }) => model.sha256 === null && model.url !== null),
    wanted_by: claims.map(({ by }) => by),
    after_start: claims.length > 0 && claims.every(({ model }) => model.when === 'after_start'),
  }
}

interface Found {
  readonly file: StoredFile | undefined
  readonly blob: StoredFile | undefined
  readonly part: PartialDownload | undefined
  readonly isVerified: boolean
}

function standingOf({ file, blob, part, isVerified }: Found): ModelStanding {
  if (file !== undefined) return isVerified ? 'in_place' : part === undefined ? 'unverified' : 'partial'
  if (blob !== undefined) return 'stored'
  return part === undefined ? 'missing' : 'partial'
}

function byPlace(a: ModelRow, b: ModelRow): number {
  const [left, right] = [a, b].map(({ path, name }) => path ?? name)
  return left === right ? 0 : (left ?? '') < (right ?? '') ? -1 : 1
}
