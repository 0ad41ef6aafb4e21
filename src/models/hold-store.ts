import { MachineError } from '../errors.ts'
import type { StoreFiles, StoreHolder, StoreLock } from '../host/model-ports.ts'
import type { Clock, Files } from '../host/ports.ts'
import { storeOf } from '../plan/places.ts'
import { toStoreFailure } from './store-failure.ts'

/** A sign of progress is written at most so often. */
const TOUCH_MS = 10_000
const LOOK_MS = 2_000
/** A holder that shows no progress for so long is not waited for. */
const LIFE_MS = 120_000
/** ComfyUI, which may add models beside, changes nothing in the store. */
const STORE_MODE = 0o755

/** What holding a store needs of the outside. */
export interface HoldPorts {
  readonly store: Pick<StoreFiles, 'lock'>
  readonly files: Pick<Files, 'makeDirectory'>
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** Who wants to hold which store. */
export interface HoldRequest {
  /** The models folder. */
  readonly models: string
  /** What others are told that holds it, e.g. `comfy-machine install models`. */
  readonly command: string
  /**
   * Told of whoever holds it: when it is found held, and with `isAlive` whenever the holder shows progress. Without it
   * nobody waits.
   */
  readonly onWait?: (holder: StoreHolder, isAlive: boolean) => void
  /** Told when a sign of progress could not be written; the work goes on. */
  readonly onProblem?: (problem: unknown) => void
}

/** A store that is this process's. */
export interface StoreHold {
  /** Tells those who wait that the work goes on. Costs nothing when it is called often. */
  touch(): void
  release(): Promise<void>
}

/**
 * Makes the directories of a store and takes its lock. Throws CM1809 when another process has it: at once where nobody waits,
 * else when that process shows no progress for two minutes. CM0401 and CM1806 for what the file system refuses.
 */
export async function holdStore(ports: HoldPorts, request: HoldRequest): Promise<StoreHold> {
  const { files, clock, store } = ports
  const places = storeOf(request.models)
  const take = async (): Promise<StoreLock | StoreHolder> => {
    try {
      return await store.lock(places.lock, request.command)
    } catch (error) {
      throw toStoreFailure(error, places.lock)
    }
  }
  for (const directory of [places.root, places.blobs, places.partial]) {
    await files.makeDirectory(directory, STORE_MODE).catch((error: unknown) => {
      throw toStoreFailure(error, directory)
    })
  }
  let signUs = clock.nowUs()
  let last: StoreHolder | undefined
  for (;;) {
    const taken = await take()
    if ('release' in taken) return holding(taken, clock, request.onProblem ?? (() => undefined))
    const isAlive = last !== undefined && taken.aliveMs !== last.aliveMs
    if (isAlive) signUs = clock.nowUs()
    if (request.onWait === undefined || clock.nowUs() - signUs > LIFE_MS * 1000) throw busy(taken)
    if (isAlive || last === undefined) request.onWait(taken, isAlive)
    last = taken
    await clock.sleep(LOOK_MS, ports.signal)
    ports.signal.throwIfAborted()
  }
}

/** Who holds a store, for people. */
export function describeHolder({ pid, command }: StoreHolder): string {
  return pid === 0 ? 'another process' : `${command} (PID ${pid})`
}

function busy(holder: StoreHolder): MachineError {
  return new MachineError('CM1809', `${describeHolder(holder)} works on the models`)
}

function holding(lock: StoreLock, clock: Clock, onProblem: (problem: unknown) => void): StoreHold {
  let touchedUs = clock.nowUs()
  let touching = Promise.resolve()
  return {
    touch() {
      if (clock.nowUs() - touchedUs < TOUCH_MS * 1000) return
      touchedUs = clock.nowUs()
      touching = lock.touch().catch(onProblem)
    },
    async release() {
      await touching
      await lock.release()
    },
  }
}
