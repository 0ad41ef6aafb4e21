import path from 'node:path'
import type { Files } from '../host/ports.ts'
import { COMPLETE_FILE, type Places, placesOf, pointerOf } from '../plan/places.ts'
import { RUN_DIRECTORY } from '../plan/plan.ts'
import type { RolloutRecord } from '../plan/pointers.ts'
import { parseRollout } from '../plan/rollout-record.ts'
import type { RolloutRequest } from './plan-rollout.ts'

/** Where `comfy-machine update` and `comfy-machine rollback` leave what they want; only root writes there. */
export const UPDATE_DIRECTORY = path.join(RUN_DIRECTORY, 'update')

/** The file of the last request. */
export const REQUEST_FILE = path.join(UPDATE_DIRECTORY, 'request.json')

/** What the pointers of a workspace name. */
export interface Pointers {
  readonly current: string | undefined
  /** The generation that `next` names, once it is whole. */
  readonly next: string | undefined
  /** `next` names a generation that is not whole: it is being built. */
  readonly isBuilding: boolean
  /** By name of the GPU; a GPU without a pointer is missing. */
  readonly gpus: ReadonlyMap<string, string>
}

/** Reads the pointers of a workspace. What does not name a generation is no pointer. */
export async function readPointers(files: Files, workspace: string, gpus: readonly string[]): Promise<Pointers> {
  const places = placesOf(workspace)
  const read = async (gpu: string): Promise<readonly [string, string | undefined]> => [
    gpu,
    await readPointer(files, pointerOf(workspace, gpu)),
  ]
  const [current, named, ...own] = await Promise.all([
    readPointer(files, places.current),
    readPointer(files, places.next),
    ...gpus.map(read),
  ])
  const isWhole = named !== undefined && (await isWholeGeneration(files, places, named))
  return {
    current,
    next: isWhole ? named : undefined,
    isBuilding: named !== undefined && !isWhole,
    gpus: new Map(own.filter((entry): entry is [string, string] => entry[1] !== undefined)),
  }
}

/** Tells whether a generation is there and whole. */
async function isWholeGeneration(files: Files, places: Places, generation: string): Promise<boolean> {
  return (await files.lstat(path.join(places.generations, generation, COMPLETE_FILE)))?.kind === 'file'
}

/** Reads what is known of generations. */
export async function readRecord(files: Files, workspace: string): Promise<RolloutRecord> {
  return parseRollout(await files.readForeign(placesOf(workspace).rollout))
}

/** Reads the last request of this boot; undefined when there was none. */
export async function readRequest(files: Files): Promise<RolloutRequest | undefined> {
  const text = await files.readText(REQUEST_FILE)
  return text === undefined ? undefined : (JSON.parse(text) as RolloutRequest)
}

async function readPointer(files: Files, link: string): Promise<string | undefined> {
  return /^generations\/([0-9a-z][0-9a-z-]*)$/.exec((await files.readLink(link)) ?? '')?.[1]
}

/** Ids of the whole generations of a machine, sorted. */
export async function readWholeGenerations(files: Files, places: Places): Promise<readonly string[]> {
  const names = (await files.list(places.generations)).filter((name) => !name.startsWith('.'))
  const whole = await Promise.all(names.map((name) => isWholeGeneration(files, places, name)))
  return names.filter((_, index) => whole[index] === true)
}
