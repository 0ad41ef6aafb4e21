import type { Distribution } from '../worker/job-counters.ts'
import type { Family, Labels } from './families.ts'

/** A distribution as OTLP has it: `counts` has one more element than `bounds`, and each counts its own bucket only. */
export interface PushedDistribution {
  readonly sum: number
  readonly count: number
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
}

/** One point of a metric; times are microseconds since the epoch. */
export interface PushedPoint<T> {
  /** Strings, as the labels of `/metrics` are. */
  readonly attributes: Readonly<Record<string, string>>
  readonly startUs: number
  readonly endUs: number
  readonly value: T
}

/** One metric as OTLP tells it (opentelemetry-proto, metrics.proto); sums rise and are cumulative. */
export type PushedMetric = {
  /** That of `/metrics`. */
  readonly name: string
  readonly description: string
  /** UCUM; empty where the number is a mere number. */
  readonly unit: string
} & (
  | { readonly kind: 'gauge' | 'sum'; readonly points: readonly PushedPoint<number>[] }
  | { readonly kind: 'histogram'; readonly points: readonly PushedPoint<PushedDistribution>[] }
)

/** The same families that `/metrics` shows, at the same moment, in the words of OTLP. */
export function toPushedMetrics(families: readonly Family[], nowUs: number): readonly PushedMetric[] {
  return families.map((family) => {
    const about = { name: family.name, description: family.help, unit: unitOf(family.name) }
    const point = <T>(labels: Labels | undefined, value: T, sinceUs = nowUs): PushedPoint<T> => {
      return { attributes: toAttributes(labels), startUs: sinceUs, endUs: nowUs, value }
    }
    if (family.type === 'histogram') {
      const points = family.samples.map((each) => point(each.labels, toDistribution(each.value), each.sinceUs))
      return { ...about, kind: 'histogram', points }
    }
    const points = family.samples.map((each) => point(each.labels, each.value, each.sinceUs))
    return { ...about, kind: family.type === 'counter' ? 'sum' : 'gauge', points }
  })
}

function unitOf(name: string): string {
  if (name.endsWith('_bytes_per_second')) return 'By/s'
  if (/_bytes(_total)?$/.test(name)) return 'By'
  return /_seconds(_total)?$/.test(name) ? 's' : ''
}

function toDistribution({ sum, count, buckets }: Distribution): PushedDistribution {
  const upTo = [...buckets.map((bucket) => bucket.count), count]
  return {
    sum,
    count,
    bounds: buckets.map(({ le }) => le),
    counts: upTo.map((each, index) => each - (upTo[index - 1] ?? 0)),
  }
}

function toAttributes(labels: Labels = {}): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(labels).map(([name, value]) => [name, String(value)]))
}
