import path from 'node:path'
import { bundleProgram } from './bundle.ts'
import type { Host } from './host.ts'
import type { Observed } from './inside/observe-units.ts'
import { bootInstalledHost } from './installed.ts'

const NODE = '/usr/lib/comfy-machine/bin/node'
const PROGRAM = '/opt/observe-units.mjs'
const UNITS_FILE = '/opt/units.json'
const SHOWN =
  'Id,InvocationID,Result,InactiveExitTimestamp,ActiveEnterTimestamp,InactiveEnterTimestamp,ExecMainExitTimestamp'

/** What `systemctl show` says of many units at once, by unit. */
export async function showAll(
  host: Host,
  units: readonly string[],
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  const text = await host.must(['systemctl', 'show', '--timestamp=us+utc', '-p', SHOWN, ...units])
  const shown = text
    .trim()
    .split('\n\n')
    .map((block) => block.split('\n').map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]))
    .map((rows) => new Map(rows.map(([name = '', value = '']) => [name, value])))
  return new Map(shown.map((properties) => [properties.get('Id') ?? '', properties]))
}

/** A host with the program that observes units. */
export async function bootObserved(name: string): Promise<Host> {
  const host = await bootInstalledHost({ name })
  await host.write(PROGRAM, await bundleProgram(path.join(import.meta.dirname, 'inside/observe-units.ts')))
  return host
}

/** Starts units, name to lines, at once and returns what a machine recorded of them. */
export async function observe(
  host: Host,
  units: Readonly<Record<string, readonly string[]>>,
  restS: number,
): Promise<Observed> {
  const texts = Object.entries(units).map(([name, lines]) => [name, `${lines.join('\n')}\n`])
  await host.write(UNITS_FILE, JSON.stringify(Object.fromEntries(texts)))
  return JSON.parse(await host.must([NODE, PROGRAM, UNITS_FILE, String(restS)], { timeoutMs: 280_000 })) as Observed
}
