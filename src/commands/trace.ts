import { join } from 'node:path'
import { parseSpans } from '../emit/outbox.ts'
import { MachineError } from '../errors.ts'
import { findStartups, waterfallLines } from '../health/waterfall.ts'
import { readWorkspace } from '../health/workspace.ts'
import { systemFiles } from '../host/files.ts'
import type { Files, Terminal } from '../host/ports.ts'

/** What `comfy-machine trace` may be told. */
export interface TraceOptions {
  /** 1 (the default) for the newest startup on record, 2 for the one before it, … */
  readonly last?: number
}

/** Files of span records within the workspace's `telemetry` directory, in the order in which they were written. */
const SPAN_FILES = ['delivered.ndjson', 'outbox.ndjson'] as const

/** `comfy-machine trace`: the waterfall of a startup from the host's own records; resolves to the exit code. */
export function traceCommand(options: TraceOptions, terminal: Terminal): Promise<number> {
  return trace(options, { files: systemFiles, terminal })
}

/** The waterfall over given ports. Throws CM0003 when there is no such startup on record. */
export async function trace(
  options: TraceOptions,
  { files, terminal }: { readonly files: Files; readonly terminal: Terminal },
): Promise<number> {
  const directory = join(await readWorkspace(files), 'telemetry')
  const texts = await Promise.all(SPAN_FILES.map((name) => files.readText(join(directory, name))))
  const startups = findStartups(texts.flatMap((text) => parseSpans(text ?? '')))
  const last = options.last ?? 1
  const found = startups[last - 1]
  if (found === undefined) {
    const detail =
      startups.length === 0 ? `no finished startup is recorded in ${directory}` : `only ${startups.length} are recorded`
    throw new MachineError('CM0003', detail)
  }
  const columns = terminal.isTTY ? { columns: terminal.columns } : {}
  terminal.write(`${waterfallLines(found, { colour: terminal.colour, ...columns }).join('\n')}\n`)
  return found.root.error === undefined ? 0 : 1
}
