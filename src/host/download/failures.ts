import { MachineError, messageOf } from '../../errors.ts'
import { codeOf, networkFailureType } from '../../install/network-failure.ts'
import { NeedsLibrary } from './exchange.ts'

/** A failure after which the same source is asked again. */
export class Interrupted extends Error {
  readonly failure: MachineError
  /** What the server asked for, in milliseconds. */
  readonly waitMs: number
  /** What has arrived is of no use. */
  readonly isOver: boolean

  constructor(failure: MachineError, waitMs = 0, isOver = false) {
    super(failure.message, { cause: failure })
    this.failure = failure
    this.waitMs = waitMs
    this.isOver = isOver
  }
}

/** What a failure means for a file. */
export type Judgement =
  /** The file system does not take it: no source helps. */
  | { readonly kind: 'fatal'; readonly failure: MachineError }
  /** This source does not have it, or not for us. */
  | { readonly kind: 'source'; readonly failure: MachineError }
  /** The same is asked again by the library. */
  | { readonly kind: 'library' }
  | { readonly kind: 'retry'; readonly failure: MachineError; readonly waitMs: number; readonly isOver: boolean }

/** Judges what an exchange failed with. `hasBegun`: bytes of the file had come from there. */
export function judgeFailure(
  error: unknown,
  { name, host, hasBegun }: { readonly name: string; readonly host: string; readonly hasBegun: boolean },
): Judgement {
  if (error instanceof NeedsLibrary) return { kind: 'library' }
  if (error instanceof MachineError) return { kind: 'source', failure: error }
  if (error instanceof Interrupted) return { kind: 'retry', ...pick(error) }
  const code = codeOf(error)
  if (code !== undefined && /^(ENOSPC|EDQUOT|EACCES|EROFS|EPERM|EIO|EFBIG)$/.test(code)) {
    return { kind: 'fatal', failure: ofFileSystem(name, error) }
  }
  const detail = `model ${name}: ${host}: ${messageOf(error)}`
  const isCut = hasBegun && (code === 'ECONNRESET' || code === 'ESTALL')
  const failure = isCut
    ? new MachineError('CM1805', detail, { cause: error })
    : new MachineError('CM1801', detail, { cause: error, type: networkFailureType(code) })
  if (failure.type === 'tls_failure' || code === 'EREDIRECT' || code === 'EINVAL') return { kind: 'source', failure }
  return { kind: 'retry', failure, waitMs: 0, isOver: false }
}

/** CM1806 for a full disk, CM0401 for a file system that refuses. */
export function ofFileSystem(name: string, error: unknown): MachineError {
  const code = codeOf(error)
  const isFull = code === 'ENOSPC' || code === 'EDQUOT'
  return new MachineError(isFull ? 'CM1806' : 'CM0401', `model ${name}: ${messageOf(error)}`, { cause: error })
}

function pick({ failure, waitMs, isOver }: Interrupted): Pick<Interrupted, 'failure' | 'waitMs' | 'isOver'> {
  return { failure, waitMs, isOver }
}
