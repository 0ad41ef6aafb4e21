import path from 'node:path'
import type { Action } from './actions.ts'

/** A file as it is to be. */
export interface WantedFile {
  readonly path: string
  readonly text: string
  readonly mode: number
}

/** The actions that turn the files there are into the wanted ones; files that are as wanted are left alone. */
export function diffFiles(present: ReadonlyMap<string, string>, wanted: readonly WantedFile[]): readonly Action[] {
  const wantedPaths = new Set(wanted.map((file) => file.path))
  const removals = [...present.keys()]
    .filter((file) => !wantedPaths.has(file))
    .map((file) => ({ kind: 'remove-file', path: file }) as const)
  const changed = wanted.filter((file) => present.get(file.path) !== file.text)
  return [...removals, ...changed.map((file) => ({ kind: 'write-file', ...file }) as const)]
}

/** A unit that an earlier start left behind. */
export interface LeftoverUnit {
  readonly name: string
  readonly activeState: string
}

/** What clears the way for a new start: leftovers are stopped in one go (systemd orders them) and failures forgotten. */
export function diffLeftovers(units: readonly LeftoverUnit[]): readonly Action[] {
  const isUp = ({ activeState }: LeftoverUnit): boolean => activeState !== 'inactive' && activeState !== 'failed'
  const stops = units.filter(isUp).map(({ name }) => ({ kind: 'stop', unit: name }) as const)
  const resets = units
    .filter(({ activeState }) => activeState === 'failed')
    .map(({ name }) => ({ kind: 'reset-failed', unit: name }) as const)
  return [...stops, ...resets]
}

const MANAGED =
  /^(comfy-machine\.target|comfy-(health|share-models)\.(socket|service)|comfy-metrics\.(timer|service)|comfy-sandbox(\.socket|@\.service)|comfy-(telemetry|update|collect|load-models|discover|install-[a-z]+)\.service|(comfyui|redis-worker)@gpu[0-9]+\.service)$/

/** Tells whether a unit file of this name is written by the controller, and so may be replaced or removed by it. */
export function isManagedUnit(name: string): boolean {
  return MANAGED.test(name)
}

/** Shell patterns of all units that a start of the machine may have begun. */
export const STARTED_UNITS = [
  'comfy-machine.target',
  'comfy-install-*',
  'comfy-discover.service',
  'comfy-load-models.service',
  'comfy-metrics.*',
  'comfy-share-models.*',
  'comfy-update.service',
  'comfy-collect.service',
  'comfy-sandbox*',
  'comfyui@*',
  'redis-worker@*',
] as const

/** Where rendered units live; systemd.unit(5) calls it the runtime units directory. */
export const UNIT_DIRECTORY = '/run/systemd/system'

/** The file of a unit. */
export function unitPath(name: string): string {
  return path.join(UNIT_DIRECTORY, name)
}
