import { MachineError } from '../errors.ts'
import type { Inventory } from '../host/inventory-ports.ts'
import type { StoreFiles } from '../host/model-ports.ts'
import type { Files } from '../host/ports.ts'
import type { Meter } from './model-meter.ts'
import type { SetModel } from './set-document.ts'
import { toStoreFailure } from './store-failure.ts'

/** The world of a set: its files and those of the store. */
export interface SetPorts {
  readonly files: Files
  readonly store: StoreFiles
  readonly inventory: Inventory
  readonly meter: Meter
  /** Aborts when the work is to end. */
  readonly signal: AbortSignal
}

/** What became of a set's contents; a failure stops none of the others. */
export interface SetOutcome {
  readonly written: number
  readonly writtenBytes: number
  /** Contents, or with an import models, that were there. */
  readonly kept: number
  readonly failures: readonly MachineError[]
}

/** A failure that names its model. */
export function nameFailure(error: unknown, { name, path }: Pick<SetModel, 'name' | 'path'>): MachineError {
  const { code, message, hint } = toStoreFailure(error, path)
  return new MachineError(code, `model ${name}: ${message}`, { cause: error, hint })
}

/** Throws the first failure, if there is one, with the messages of all. */
export function sumFailures(failures: readonly MachineError[]): void {
  const [first] = failures
  if (first === undefined) return
  const text = failures.map(({ message }) => message).join('; ')
  throw new MachineError(first.code, text, { cause: first, type: first.type, hint: first.hint })
}
