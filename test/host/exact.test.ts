import path from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { bundleProgram } from './bundle.ts'
import type { Host } from './host.ts'
import type { Observed, ObservedUnit } from './inside/observe-units.ts'
import { bootInstalledHost } from './installed.ts'
import { toMicroseconds } from './machine.ts'

const NODE = '/usr/lib/comfy-machine/bin/node'
const PROGRAM = '/opt/observe-units.mjs'
const GPUS = 500
const TIMES = ['InactiveExitTimestamp', 'ActiveEnterTimestamp', 'InactiveEnterTimestamp'] as const

/** What `systemctl show` says of many units at once, by unit. */
async function showAll(
  host: Host,
  units: readonly string[],
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  const names = ['Id', 'InvocationID', 'Result', ...TIMES].join(',')
  const text = await host.must(['systemctl', 'show', '--timestamp=us+utc', '-p', names, ...units])
  const shown = text
    .trim()
    .split('\n\n')
    .map((block) => block.split('\n').map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]))
    .map((rows) => new Map(rows.map(([name = '', value = '']) => [name, value])))
  return new Map(shown.map((properties) => [properties.get('Id') ?? '', properties]))
}

describe('a thousand units of 1 to 5 ms, started at once', () => {
  let host: Host
  let observed: Observed
  let shown: ReadonlyMap<string, ReadonlyMap<string, string>>

  beforeAll(async () => {
    host = await bootInstalledHost({ name: 'exact' })
    await host.write(PROGRAM, await bundleProgram(path.join(import.meta.dirname, 'inside/observe-units.ts')))
    observed = JSON.parse(await host.must([NODE, PROGRAM, String(GPUS)], { timeoutMs: 280_000 })) as Observed
    shown = await showAll(
      host,
      observed.units.map(({ unit }) => unit),
    )
    const { seconds, signals, foldMs, foldMsOfFirstHalf, cpuMs, units } = observed
    process.stdout.write(
      `${units.length} units in ${seconds.toFixed(1)} s: ${signals} signals, ${cpuMs.toFixed(0)} ms of CPU, of it ` +
        `${foldMs.toFixed(0)} ms to fold (${foldMsOfFirstHalf.toFixed(0)} ms the first half of the events)\n`,
    )
  }, 300_000)

  afterAll(async () => {
    await host.stop()
  })

  test('are followed without a transition missed', () => {
    expect(observed.problems).toEqual([])
    expect(observed.units).toHaveLength(2 * GPUS)
    const wrong = observed.units.filter(({ states, jobResults, outcome }, index) => {
      const [last, end] = index % 2 === 0 ? ['active', 'active'] : ['inactive', 'finished']
      return !states.includes('activating') || !states.includes(last) || outcome !== end || jobResults.join() !== 'done'
    })
    expect(wrong).toEqual([])
    expect([...observed.steps].sort()).toEqual([
      [13, 'done'],
      [19, 'done'],
      [20, 'done'],
    ])
  })

  test('are recorded at systemd’s own times, to the microsecond', () => {
    const said = (unit: string, name: string): string => shown.get(unit)?.get(name) ?? ''
    const wantedOf = ({ unit }: ObservedUnit, index: number) => {
      const end = index % 2 === 0 ? 'ActiveEnterTimestamp' : 'InactiveEnterTimestamp'
      return {
        id: said(unit, 'InvocationID').slice(0, 16),
        startUs: toMicroseconds(said(unit, 'InactiveExitTimestamp')),
        endUs: toMicroseconds(said(unit, end)),
      }
    }
    const wrong = observed.units.filter(
      (each, index) => JSON.stringify(each.span) !== JSON.stringify(wantedOf(each, index)),
    )
    expect(wrong.map((each) => [each, wantedOf(each, observed.units.indexOf(each))])).toEqual([])
    expect(new Set(observed.units.map(({ span }) => span?.id)).size).toBe(2 * GPUS)
  })
})
