import type { ExecOptions } from './ports.ts'
import type { ProgramEnd } from './program.ts'

/** What a connection to the sandbox asks for, its first and only line: one program. */
export interface SandboxRequest extends Required<Pick<ExecOptions, 'env'>>, Pick<ExecOptions, 'cwd' | 'timeoutMs'> {
  readonly argv: readonly [string, ...string[]]
}

/** One line of the sandbox's answer: it has begun, what the program says, and at last how it ended or why it could not be run. */
export type SandboxAnswer =
  | { readonly kind: 'begun' }
  | { readonly kind: 'output'; readonly stream: 'stdout' | 'stderr'; readonly text: string }
  | ({ readonly kind: 'end' } & ProgramEnd)
  | { readonly kind: 'failure'; readonly message: string }

/** A message as it is sent: JSON on a line of its own. */
export function toLine(message: SandboxRequest | SandboxAnswer): string {
  return `${JSON.stringify(message)}\n`
}

const LONGEST_LINE = 4 * 1024 * 1024

/** Cuts what comes in into lines, without their ends. Throws RangeError when one is longer than any message can be. */
export function createLineReader(): (text: string) => readonly string[] {
  let rest = ''
  return (text) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LONGEST_LINE) throw new RangeError('a message of the sandbox is too long')
    return lines
  }
}
