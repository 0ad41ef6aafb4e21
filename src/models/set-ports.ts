import { MachineError, messageOf } from '../errors.ts'
import type { Inventory } from '../host/inventory-ports.ts'
import type { StoreFiles } from '../host/model-ports.ts'
import type { Files } from '../host/ports.ts'
import type { Meter } from './model-meter.ts'
import type { SetModel } from './set-document.ts'

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
export function nameFailure(error: unknown, { name }: Pick<SetModel, 'name'>): MachineError {
  const { code, message, hint } =
    error instanceof MachineError ? error : new MachineError('CM0401', messageOf(error), { cause: error })
  return new MachineError(code, `model ${name}: ${message}`, { cause: error, hint })
}
