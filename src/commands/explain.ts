import { MachineError } from '../errors.ts'
import {
  CODES,
  closestCode,
  codeDocument,
  codeTable,
  explainCode,
  explainFailing,
  explainShortfall,
  failingDocument,
  findCode,
  shortfallDocument,
} from '../health/explanation.ts'
import { openRecord, type StateRecord } from '../health/record.ts'
import { judge } from '../health/standing.ts'
import { systemClock } from '../host/clock.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'

/** What `comfy-machine explain` may be told. */
export interface ExplainOptions {
  /** A code or its name; absent: the table of all codes. */
  readonly code?: string
  /** Explain what fails now. */
  readonly last?: boolean
  /** The same as one JSON document. */
  readonly json?: boolean
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
  const print = (lines: readonly string[], document: () => unknown): void => {
    const text = options.json === true ? JSON.stringify(document(), undefined, 2) : lines.join('\n')
    ports.terminal.write(`${text}\n`)
  }
  if (options.code !== undefined) {
    if (options.last === true) throw new MachineError('CM0002', 'a code and --last exclude each other')
    const code = findCode(options.code)
    if (code === undefined) return refuse(options.code, ports.terminal)
    print(explainCode(code), () => codeDocument(code))
    return 0
  }
  if (options.last !== true) {
    print(codeTable(), () => ({ codes: CODES.map(codeDocument) }))
    return 0
  }
  const sighting = await ports.record.look()
  const { state } = sighting
  const { reason } = judge(sighting)
  if (state === undefined) throw new MachineError('CM0003', reason)
  const failing = state.failing.map((item) => explainFailing(item, state).join('\n'))
  const degraded = state.shortfalls.map((item) => explainShortfall(item).join('\n'))
  const entries = [...(failing.length === 0 ? [`nothing fails: ${reason}`] : failing), ...degraded]
  print([entries.join('\n\n')], () => ({
    reason,
    failing: state.failing.map((item) => failingDocument(item, state)),
    degraded: state.shortfalls.map(shortfallDocument),
  }))
  return 0
}

function refuse(text: string, terminal: Terminal): number {
  const near = closestCode(text)
  const help = near === undefined ? 'comfy-machine explain lists all codes' : `did you mean ${near}?`
  terminal.error(`comfy-machine: CM0002 there is no code ${JSON.stringify(text)}; ${help}\n`)
  return USAGE
}
