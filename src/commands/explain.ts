import { MachineError } from '../errors.ts'
import { closestCode, codeTable, explainCode, explainFailing, findCode } from '../health/explanation.ts'
import { openRecord, type StateRecord } from '../health/record.ts'
import { judge } from '../health/standing.ts'
import { systemClock } from '../host/clock.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import type { FailingState } from '../observe/state.ts'

/** What `comfy-machine explain` may be told. */
export interface ExplainOptions {
  /** A code or its name; absent: the table of all codes. */
  readonly code?: string
  /** Explain what fails now. */
  readonly last?: boolean
}

const USAGE = 64

/** `comfy-machine explain`: a failure code, what fails now, or all codes; resolves to the exit code, 64 for an unknown code. */
export function explainCommand(options: ExplainOptions, terminal: Terminal): Promise<number> {
  return explain(options, { record: openRecord(systemFiles, systemClock), terminal })
}

/** The explanation over given ports. Throws CM0003 for `last` with nothing on record. */
export async function explain(
  options: ExplainOptions,
  ports: { readonly record: StateRecord; readonly terminal: Terminal },
): Promise<number> {
  const print = (lines: readonly string[]): void => ports.terminal.write(`${lines.join('\n')}\n`)
  if (options.code !== undefined) {
    const code = findCode(options.code)
    if (code === undefined) return refuse(options.code, ports.terminal)
    print(explainCode(code))
    return 0
  }
  if (options.last !== true) {
    print(codeTable())
    return 0
  }
  const sighting = await ports.record.look()
  if (sighting.state === undefined) throw new MachineError('CM0003', judge(sighting).reason)
  const { failing } = sighting.state
  print(failing.length === 0 ? [`nothing fails: ${judge(sighting).reason}`] : failing.flatMap(explainEntry))
  return 0
}

function explainEntry(item: FailingState, index: number): readonly string[] {
  return index === 0 ? explainFailing(item) : ['', ...explainFailing(item)]
}

function refuse(text: string, terminal: Terminal): number {
  const near = closestCode(text)
  const help = near === undefined ? 'comfy-machine explain lists all codes' : `did you mean ${near}?`
  terminal.error(`comfy-machine: CM0002 there is no code ${JSON.stringify(text)}; ${help}\n`)
  return USAGE
}
