import { isSameAttempt } from '../observe/fold-step.ts'
import type { Machine } from '../observe/machine.ts'
import type { FailingState } from '../observe/state.ts'

/** The last lines of the journal of units that failed: asked for at once, and awaited only by the spans that show them. */
export class LastLines {
  readonly #read: (invocationId: string) => Promise<readonly string[]>
  readonly #awaited = new Map<string, Promise<readonly string[]>>()

  constructor(read: (invocationId: string) => Promise<readonly string[]>) {
    this.#read = read
  }

  /** Asks for the lines of a failed attempt; `onLines` hears of them. A failure that no unit had has none. */
  ask(failing: FailingState, onLines: (told: FailingState) => void): void {
    const { invocationId } = failing
    if (invocationId === undefined || invocationId === '') return
    const key = keyOf(failing)
    const lines = this.#read(invocationId)
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
