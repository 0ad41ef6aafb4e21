import { toMachineError } from '../errors.ts'
import type { Terminal } from '../host/ports.ts'

/** What every command may be told that moves a machine to another generation. */
export interface ChangeOptions {
  readonly json: boolean
  /** Return when the machine is there, not when it has begun. */
  readonly wait: boolean
}

/** How such a command ended well. `planned`: the machine is stopped, its next start does it. */
export interface Outcome {
  readonly outcome: 'begun' | 'same' | 'updated' | 'rolled-back' | 'planned'
  readonly generation: string | null
}

const SENTENCES: Readonly<Record<Outcome['outcome'], (generation: string) => string>> = {
  begun: () => 'the update has begun: comfy-machine status shows how far it is',
  same: (generation) => `nothing is new: the machine is on generation ${generation}`,
  updated: (generation) => `the machine is on generation ${generation}`,
  'rolled-back': (generation) =>
    `the machine is on generation ${generation}, and stays there until comfy-machine update`,
  planned: (generation) => `the next start is on generation ${generation}`,
}

/** Does the work and tells how it ended; resolves to the exit code 0, or 1 after a failure that is told as JSON. */
export async function tellOutcome(
  { json }: ChangeOptions,
  terminal: Terminal,
  work: () => Promise<Outcome>,
): Promise<number> {
  try {
    const done = await work()
    terminal.write(json ? `${JSON.stringify(done)}\n` : `${SENTENCES[done.outcome](done.generation ?? '')}\n`)
    return 0
  } catch (thrown) {
    if (!json) throw thrown
    const { code, type, message, hint } = toMachineError(thrown)
    terminal.write(`${JSON.stringify({ outcome: 'failed', code, type, message, hint })}\n`)
    return 1
  }
}
