import { readSpans } from '../emit/segments.ts'
import { MachineError } from '../errors.ts'
import { startupDocument, traceDocument } from '../health/trace-document.ts'
import { findStartups, matchStartups, type Trace } from '../health/trace-model.ts'
import { startupLines, waterfallLines } from '../health/waterfall.ts'
import { waterfallSvg } from '../health/waterfall-svg.ts'
import { systemFiles } from '../host/files.ts'
import type { Files, Terminal } from '../host/ports.ts'
import { TELEMETRY_DIRECTORY } from '../plan/plan.ts'

/** What `comfy-machine trace` may be told. */
export interface TraceOptions {
  /** The startup with this trace id, or the only one whose id begins so; at least four hex digits. */
  readonly traceId?: string
  /** 1 (the default) for the newest startup on record, 2 for the one before it, … */
  readonly last?: number
  /** The startups on record instead of one of them. */
  readonly list?: boolean
  readonly json?: boolean
  readonly svg?: boolean
}

const TRACE_ID = /^[0-9a-f]{4,32}$/i

/** `comfy-machine trace`: the waterfall of a startup from the host's own records; resolves to the exit code, 1 for a startup that failed. */
export function traceCommand(options: TraceOptions, terminal: Terminal): Promise<number> {
  return trace(options, { files: systemFiles, terminal })
}

/** The waterfall over given ports. Throws CM0002 for options that do not fit, CM0003 when there is no such startup on record. */
export async function trace(
  options: TraceOptions,
  { files, terminal }: { readonly files: Files; readonly terminal: Terminal },
): Promise<number> {
  checkOptions(options)
  const startups = findStartups(await readSpans(files, TELEMETRY_DIRECTORY))
  if (startups.length === 0) throw new MachineError('CM0003', `no startup is recorded in ${TELEMETRY_DIRECTORY}`)
  if (options.list === true) {
    const text =
      options.json === true ? toJson(startups.map(startupDocument)) : `${startupLines(startups).join('\n')}\n`
    terminal.write(text)
    return 0
  }
  const found = choose(startups, options)
  terminal.write(renderTrace(found, options, terminal))
  return found.root.error === undefined ? 0 : 1
}

function renderTrace(found: Trace, { json, svg }: TraceOptions, terminal: Terminal): string {
  if (json === true) return toJson(traceDocument(found))
  if (svg === true) return waterfallSvg(found)
  const columns = terminal.isTTY ? { columns: terminal.columns } : {}
  return `${waterfallLines(found, { colour: terminal.colour, ...columns }).join('\n')}\n`
}

function checkOptions({ traceId, last, list, json, svg }: TraceOptions): void {
  const isOne = traceId !== undefined || last !== undefined
  if (traceId !== undefined && last !== undefined) refuse('a trace id and --last exclude each other')
  if (list === true && isOne) refuse('--list shows all startups: leave the trace id and --last out')
  if (svg === true && (json === true || list === true))
    refuse(`--svg and --${json ? 'json' : 'list'} exclude each other`)
  if (traceId !== undefined && !TRACE_ID.test(traceId))
    refuse(`${JSON.stringify(traceId)} is not a trace id or the first four or more hex digits of one`)
}

function choose(startups: readonly Trace[], { traceId, last = 1 }: TraceOptions): Trace {
  const options = { hint: 'comfy-machine trace --list shows the startups on record.' }
  if (traceId === undefined) {
    const found = startups[last - 1]
    if (found === undefined) throw new MachineError('CM0003', `only ${startups.length} are recorded`, options)
    return found
  }
  const [found, ...others] = matchStartups(startups, traceId)
  if (found === undefined) throw new MachineError('CM0003', `no startup ${traceId} is recorded`, options)
  if (others.length > 0) refuse(`${traceId} fits ${others.length + 1} startups: give more digits`)
  return found
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}

function refuse(message: string): never {
  throw new MachineError('CM0002', message, { hint: 'Read comfy-machine trace --help.' })
}
