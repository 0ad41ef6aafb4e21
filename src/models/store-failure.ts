import { MachineError, messageOf } from '../errors.ts'
import { codeOf } from '../install/network-failure.ts'

/** What a file system refused: CM1806 when it is full, else CM0401. A failure that has a code already keeps it. */
export function toStoreFailure(thrown: unknown, path: string): MachineError {
  if (thrown instanceof MachineError) return thrown
  const code = codeOf(thrown)
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new MachineError('CM1806', `${path}: no space left`, { cause: thrown })
  return new MachineError('CM0401', `${path}: ${messageOf(thrown)}`, { cause: thrown })
}
