import { MachineError, messageOf } from '../errors.ts'
import { codeOf } from './network-failure.ts'

const WORDS = /No space left on device|Disk quota exceeded|\bENOSPC\b/i

/** CM0402 for a failure whose reason is a full file system, in whatever words it says so; undefined for any other. */
export function toDiskFull(thrown: unknown): MachineError | undefined {
  const code = codeOf(thrown)
  const isFull =
    code === 'ENOSPC' ||
    code === 'EDQUOT' ||
    (thrown instanceof MachineError && thrown.type === 'disk_full') ||
    WORDS.test(messageOf(thrown))
  if (!isFull) return undefined
  if (code === 'CM0402') return thrown as MachineError
  return new MachineError('CM0402', messageOf(thrown), { cause: thrown })
}
