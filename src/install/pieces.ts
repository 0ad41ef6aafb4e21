import { type ErrorCode, toMachineError } from '../errors.ts'
import type { Attributes, ReportedWork } from '../report.ts'
import { type InstallContext, toReported } from './context.ts'

/** A piece of work that is about to be done; `add` takes it when it has ended. */
export interface Piece {
  readonly name: string
  readonly attributes?: Attributes
  /** The code of a failure that has none of its own. */
  readonly code: ErrorCode
  readonly add: (work: ReportedWork) => void
}

/** Carries out a piece of work and records its times, what `describe` tells of its result, or its failure. */
export async function carryOut<T>(
  context: InstallContext,
  piece: Piece,
  run: () => Promise<T>,
  describe: (value: T) => Attributes = () => ({}),
): Promise<T> {
  const { clock, signal } = context.host
  const { name, attributes = {}, add } = piece
  const startUs = clock.nowUs()
  try {
    const value = await run()
    add({ name, startUs, endUs: clock.nowUs(), state: 'done', attributes: { ...attributes, ...describe(value) } })
    return value
  } catch (error) {
    signal.throwIfAborted()
    const failure = toReported(toMachineError(error, piece.code))
    add({ name, startUs, endUs: clock.nowUs(), state: 'failed', attributes, failure })
    throw error
  }
}

/** A piece of the step itself: it goes to the report as soon as it has ended. */
export function pieceOfStep(context: InstallContext, name: string, code: ErrorCode, attributes: Attributes): Piece {
  return { name, code, attributes, add: (work) => context.host.report.write({ kind: 'child', ...work }) }
}
