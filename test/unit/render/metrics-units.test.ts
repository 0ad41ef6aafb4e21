import { describe, expect, test } from 'vitest'
import { isManagedUnit } from '../../../src/apply/diff.ts'
import { unitsOf, wantedUnits } from '../../../src/render/unit-values.ts'
import { planOf } from '../observe/build-machine.ts'

const ENDPOINT = 'OTEL_EXPORTER_OTLP_ENDPOINT=http://otel.test:4317\n'
const pushed = (environment: string): readonly string[] =>
  unitsOf(planOf(1, environment))
    .map(({ name }) => name)
    .filter((name) => name.startsWith('comfy-metrics'))
const intervalOf = (environment: string): unknown =>
  unitsOf(planOf(1, `${ENDPOINT}OTEL_METRICS_EXPORTER=otlp\n${environment}`)).find(
    ({ name }) => name === 'comfy-metrics.timer',
  )?.values['intervalMs']

describe('the push of metrics', () => {
  const units = ['comfy-metrics.service', 'comfy-metrics.timer']

  test('is rendered only when it is switched on and has an endpoint', () => {
    expect(pushed(`${ENDPOINT}OTEL_METRICS_EXPORTER=otlp\n`)).toEqual(units)
    expect(pushed(`${ENDPOINT}OTEL_METRICS_EXPORTER=console , otlp\n`)).toEqual(units)
    expect(pushed('OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://m.test\nOTEL_METRICS_EXPORTER=otlp\n')).toEqual(units)
    const offs = ['', ENDPOINT, 'OTEL_METRICS_EXPORTER=otlp\n', `${ENDPOINT}OTEL_METRICS_EXPORTER=none\n`]
    for (const off of [...offs, `${ENDPOINT}OTEL_METRICS_EXPORTER=otlp\nOTEL_SDK_DISABLED=true\n`])
      expect(pushed(off), off).toEqual([])
  })

  test('is wanted by the target, and the machine is ready without it', () => {
    const plan = planOf(1, `${ENDPOINT}OTEL_METRICS_EXPORTER=otlp\n`)
    const target = unitsOf(plan).find(({ name }) => name === 'comfy-machine.target')
    const [health, ...others] = wantedUnits(plan)
    expect(target?.values['wants']).toEqual([health, 'comfy-sandbox.socket', ...others, 'comfy-metrics.timer'])
    expect(units.every(isManagedUnit)).toBe(true)
  })

  test('happens every OTEL_METRIC_EXPORT_INTERVAL ms, or once a minute', () => {
    expect(intervalOf('OTEL_METRIC_EXPORT_INTERVAL=15000\n')).toBe(15_000)
    for (const bad of ['', 'OTEL_METRIC_EXPORT_INTERVAL=soon\n', 'OTEL_METRIC_EXPORT_INTERVAL=0\n'])
      expect(intervalOf(bad), bad).toBe(60_000)
  })
})
