import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Host } from './host.ts'
import type { Observed, ObservedUnit } from './inside/observe-units.ts'
import { toMicroseconds } from './machine.ts'
import { bootObserved, observe, showAll } from './observed.ts'

const GPUS = 500

const shortUnit = (index: number): readonly string[] => [
  ...['[Unit]', 'DefaultDependencies=no', '[Service]', 'Type=oneshot'],
  `RemainAfterExit=${index % 2 === 0 ? 'yes' : 'no'}`,
  `ExecStart=/bin/sleep 0.00${1 + (index % 5)}`,
]

describe('a thousand units of 1 to 5 ms, started at once', () => {
  let host: Host
  let observed: Observed
  let shown: ReadonlyMap<string, ReadonlyMap<string, string>>

  beforeAll(async () => {
    host = await bootObserved('exact')
    const names = Array.from({ length: GPUS }, (_, gpu) => [
      `comfyui@gpu${gpu}.service`,
      `redis-worker@gpu${gpu}.service`,
    ])
    const units = names.flat().sort()
    observed = await observe(host, Object.fromEntries(units.map((unit, index) => [unit, shortUnit(index)])), 0)
    shown = await showAll(host, units)
    const { seconds, signals, foldMs, cpuMs, lookMs } = observed
    process.stdout.write(
      `${units.length} units in ${seconds.toFixed(1)} s: ${signals} signals, ${cpuMs.toFixed(0)} ms of CPU, of it ` +
        `${foldMs.toFixed(0)} ms to fold; ${lookMs.toFixed(1)} ms to look at all of them once\n`,
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
