import { describe, expect, it } from 'vitest'
import { counter, gauge, histogram } from '../../../src/health/families.ts'
import { collectFamilies, renderFamilies } from '../../../src/health/metrics.ts'
import { type PushedMetric, toPushedMetrics } from '../../../src/health/pushed-metrics.ts'
import { newCounters } from '../../../src/worker/job-counters.ts'
import { BEGUN_US, buildReady, seen } from './build-state.ts'

const NOW_US = BEGUN_US + 60_000_000

/** The samples of a pushed metric as lines of the Prometheus text. */
function linesOf(metric: PushedMetric): readonly string[] {
  const line = (name: string, labels: Readonly<Record<string, string>>, value: number): string => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${text}"`)
    return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`
  }
  if (metric.kind !== 'histogram') return metric.points.map((p) => line(metric.name, p.attributes, p.value))
  return metric.points.flatMap(({ attributes, value: { bounds, counts, sum, count } }) => {
    let upTo = 0
    const buckets = counts.map((each, index) => {
      upTo += each
      return line(`${metric.name}_bucket`, { ...attributes, le: String(bounds[index] ?? '+Inf') }, upTo)
    })
    return [...buckets, line(`${metric.name}_sum`, attributes, sum), line(`${metric.name}_count`, attributes, count)]
  })
}

describe('toPushedMetrics', () => {
  it('tells exactly what /metrics shows', () => {
    const state = buildReady()
    const [worker] = state.workers
    if (worker === undefined) throw new Error('there is no worker')
    const fresh = newCounters(BEGUN_US)
    const buckets = fresh.duration.buckets.map(({ le }) => ({ le, count: Number(le >= 1) + Number(le >= 30) }))
    const counters = { ...fresh, duration: { sum: 12.5, count: 3, buckets } }
    const figures = { spoolBytes: 1, undeliveredBytes: 2, lostSpans: 3, deliveredSpans: 4, lastDeliveryUs: BEGUN_US }
    const measures = { jobs: [{ worker, counters }], telemetry: figures }
    const families = collectFamilies(seen(state), NOW_US, measures)
    const shown = renderFamilies(families)
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(toPushedMetrics(families, NOW_US).flatMap(linesOf)).toEqual(shown)
    expect(shown.length).toBeGreaterThan(200)
  })

  it('counts since the counting began, and says the unit', () => {
    const value = { sum: 1, count: 1, buckets: [{ le: 5, count: 1 }] }
    const pushed = toPushedMetrics(
      [
        gauge('a_bytes', 'A.', [{ value: 1 }]),
        counter('b_bytes_total', 'B.', [{ value: 2, labels: { step: 3 }, sinceUs: BEGUN_US }]),
        histogram('c_seconds', 'C.', [{ value, sinceUs: BEGUN_US }]),
        gauge('d_bytes_per_second', 'D.', [{ value: 3 }]),
        gauge('e_timestamp_seconds', 'E.', [{ value: 3 }]),
        counter('f_total', 'F.', [{ value: 4 }]),
      ],
      NOW_US,
    )
    expect(pushed.map(({ kind, unit }) => [kind, unit])).toEqual([
      ['gauge', 'By'],
      ['sum', 'By'],
      ['histogram', 's'],
      ['gauge', 'By/s'],
      ['gauge', 's'],
      ['sum', ''],
    ])
    const [, sum, distribution] = pushed
    expect(sum?.points).toEqual([{ attributes: { step: '3' }, startUs: BEGUN_US, endUs: NOW_US, value: 2 }])
    expect(distribution?.points[0]?.value).toEqual({ sum: 1, count: 1, bounds: [5], counts: [1, 0] })
  })
})
