import { isSameAttempt } from '../observe/fold-step.ts'
import type { Machine } from '../observe/machine.ts'
import type { FailingState } from '../observe/state.ts'

/** Reads the last lines that a unit wrote in a stretch of time, microseconds since the epoch. */
export type ReadLines = (stretch: {
  readonly unit: string
  readonly fromUs: number
  readonly untilUs: number
}) => Promise<readonly string[]>

/** The last lines of the journal of units that failed: asked for at once, and awaited only by the spans that show them. */
export class LastLines {
  readonly #read: ReadLines
  readonly #awaited = new Map<string, Promise<readonly string[]>>()

  constructor(read: ReadLines) {
    this.#read = read
  }

  /** Asks for the lines of an attempt that began at `startUs`; `onLines` hears of them. A failure that no unit had has none. */
  ask(failing: FailingState, startUs: number, onLines: (told: FailingState) => void): void {
    const { unit, atUs, invocationId } = failing
    if (invocationId === undefined) return
    const key = keyOf(failing)
    // A failure is told with or without them.
    const lines = this.#read({ unit, fromUs: startUs, untilUs: atUs })
      .catch((): readonly string[] => [])
      .then((read) => {
        if (read.length > 0) onLines({ ...failing, lines: read })
        return read
      })
      .finally(() => this.#awaited.delete(key))
    this.#awaited.set(key, lines)
  }

  /** Tells whether the lines of an attempt are still on their way. */
  isAwaited(failing: FailingState): boolean {
    return this.#awaited.has(keyOf(failing))
  }

  /** The attempts with their lines, when those have come. */
  async complete(attempts: readonly FailingState[]): Promise<readonly FailingState[]> {
    return Promise.all(
      attempts.map(async (attempt) => {
        const lines = (await this.#awaited.get(keyOf(attempt))) ?? []
        return lines.length === 0 ? attempt : { ...attempt, lines }
      }),
    )
  }
}

/** The machine with the lines of a failed attempt, wherever that stands. */
export function withLines(machine: Machine, told: FailingState): Machine {
  const { state } = machine
  const { lines } = told
  if (lines === undefined) return machine
  const add = (each: FailingState): FailingState => (isSameAttempt(each, told) ? { ...each, lines } : each)
  return { ...machine, state: { ...state, failing: state.failing.map(add), attempts: state.attempts.map(add) } }
}

const keyOf = ({ step, unit, attempt }: FailingState): string => `${step}/${unit}/${attempt}`
