import type { Distribution } from '../worker/job-counters.ts'

/** Labels of one sample, in the order in which they are written. */
export type Labels = Readonly<Record<string, string | number>>

/** One value of a gauge or a counter. */
export interface Sample {
  readonly labels?: Labels
  readonly value: number
  /** Of a counter: when it began to count, microseconds since the epoch. */
  readonly sinceUs?: number
}

/** One histogram. */
export interface HistogramSample {
  readonly labels?: Labels
  readonly value: Distribution
  readonly sinceUs?: number
}

/** A metric with all of its samples, as both the Prometheus text and OTLP tell it. */
export type Family =
  | {
      readonly name: string
      readonly type: 'gauge' | 'counter'
      readonly help: string
      readonly samples: readonly Sample[]
    }
  | {
      readonly name: string
      readonly type: 'histogram'
      readonly help: string
      readonly samples: readonly HistogramSample[]
    }

/** A value that may rise and fall. */
export function gauge(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: 'gauge', help, samples }
}

/** A value that only rises, and begins at 0 again with what counts it; its name ends with `_total`. */
export function counter(name: string, help: string, samples: readonly Sample[]): Family {
  return { name, type: 'counter', help, samples }
}

/** A distribution. */
export function histogram(name: string, help: string, samples: readonly HistogramSample[]): Family {
  return { name, type: 'histogram', help, samples }
}

/** A gauge of one sample, or of none where the value is not known. */
export function known(value: number | undefined): readonly Sample[] {
  return value === undefined ? [] : [{ value }]
}
