import { readSpans } from '../emit/segments.ts'
import { MachineError } from '../errors.ts'
import { findStartups, waterfallLines } from '../health/waterfall.ts'
import { systemFiles } from '../host/files.ts'
import type { Files, Terminal } from '../host/ports.ts'
import { TELEMETRY_DIRECTORY } from '../plan/plan.ts'

/** What `comfy-machine trace` may be told. */
export interface TraceOptions {
  /** 1 (the default) for the newest startup on record, 2 for the one before it, … */
  readonly last?: number
}

/** `comfy-machine trace`: the waterfall of a startup from the host's own records; resolves to the exit code. */
export function traceCommand(options: TraceOptions, terminal: Terminal): Promise<number> {
  return trace(options, { files: systemFiles, terminal })
}

/** The waterfall over given ports. Throws CM0003 when there is no such startup on record. */
export async function trace(
  options: TraceOptions,
  { files, terminal }: { readonly files: Files; readonly terminal: Terminal },
): Promise<number> {
  const startups = findStartups(await readSpans(files, TELEMETRY_DIRECTORY))
  const last = options.last ?? 1
  const found = startups[last - 1]
  if (found === undefined) {
    const detail =
      startups.length === 0
        ? `no finished startup is recorded in ${TELEMETRY_DIRECTORY}`
        : `only ${startups.length} are recorded`
    throw new MachineError('CM0003', detail)
  }
  const columns = terminal.isTTY ? { columns: terminal.columns } : {}
  terminal.write(`${waterfallLines(found, { colour: terminal.colour, ...columns }).join('\n')}\n`)
  return found.root.error === undefined ? 0 : 1
}
