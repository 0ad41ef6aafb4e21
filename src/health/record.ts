import { messageOf } from '../errors.ts'
import type { Clock, FileStat, Files } from '../host/ports.ts'
import type { MachineState } from '../observe/state.ts'

/** Where the controller keeps the state of the machine. */
export const STATE_FILE = '/run/comfy-machine/state.json'

/** What can be seen of the machine at one moment. */
export interface Sighting {
  /** Absent when no startup is on record or the record cannot be read. */
  readonly state?: MachineState
  /** The process that wrote the state still exists. */
  readonly alive: boolean
  /** Why a record that exists cannot be used. */
  readonly trouble?: string
}

/** The record of the machine's state, read again only when the file was replaced. */
export interface StateRecord {
  look(): Promise<Sighting>
  /** Calls `onChange` when the record may have changed; the result stops watching. Throws when the directory is missing. */
  watch(onChange: () => void): () => void
}

/** The state in a text of `state.json`. Throws Error when it is none of this schema. */
function parseState(text: string): MachineState {
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) throw new Error('it is not an object')
  const state = value as MachineState
  if (state.schema !== 1) throw new Error(`its schema is ${String(state.schema)}, expected 1`)
  if (!Array.isArray(state.steps)) throw new Error('it has no steps')
  // A controller before this program did not know shortfalls.
  return { ...state, shortfalls: state.shortfalls ?? [] }
}

/** A file this young may change again within one tick of the file system's clock and look the same. */
const RACY_MS = 100

/** Opens the record at a path, by default the machine's own. */
export function openRecord(files: Files, clock: Clock, path: string = STATE_FILE): StateRecord {
  let seen: FileStat | undefined
  let read: Omit<Sighting, 'alive'> = {}
  const refresh = async (): Promise<void> => {
    const stat = await files.stat(path)
    const settled = stat !== undefined && clock.nowUs() / 1000 - stat.mtimeMs > RACY_MS
    if (settled && seen !== undefined && isSame(stat, seen)) return
    const text = stat === undefined ? undefined : await files.readText(path)
    read = text === undefined ? {} : toRead(text)
    seen = text === undefined ? undefined : stat
  }
  return {
    async look() {
      await refresh()
      const pid = read.state?.agentPid
      const alive = pid !== undefined && pid > 0 && (await files.stat(`/proc/${pid}`)) !== undefined
      return { ...read, alive }
    },
    watch: (onChange) => files.watch(path, onChange),
  }
}

function toRead(text: string): Omit<Sighting, 'alive'> {
  try {
    return { state: parseState(text) }
  } catch (error) {
    return { trouble: `the record of the machine cannot be read: ${messageOf(error)}` }
  }
}

function isSame(a: FileStat, b: FileStat): boolean {
  return a.mtimeMs === b.mtimeMs && a.bytes === b.bytes
}
