/** The rate is that of so many microseconds before now. */
const WINDOW_US = 5_000_000

/** How far and how fast something is; what nobody can know yet is absent. */
export interface Paced {
  readonly bytes: number
  readonly totalBytes?: number
  readonly bytesPerSecond?: number
  readonly remainingMs?: number
}

/** Counts bytes, and how fast they came in the last seconds. */
export class Pace {
  #totalBytes: number | undefined
  #bytes = 0
  #arrived = 0
  #samples: readonly { readonly us: number; readonly arrived: number }[]

  constructor(nowUs: number, totalBytes?: number) {
    this.#totalBytes = totalBytes
    this.#samples = [{ us: nowUs, arrived: 0 }]
  }

  /** Bytes in all; undefined where nobody knows. */
  expect(totalBytes: number | undefined): void {
    this.#totalBytes = totalBytes
  }

  /** Bytes that arrived, or negative ones that do not count any more. */
  add(count: number): void {
    this.#bytes += count
    if (count > 0) this.#arrived += count
  }

  /** Bytes that were there before: they count, but nobody waited for them. */
  resume(count: number): void {
    this.#bytes += count
  }

  /** As it is now; to be asked about once a second, since each answer is a sample of the rate. */
  read(nowUs: number): Paced {
    const [bytes, rate] = [this.#bytes, this.#rate(nowUs)]
    const total = this.#totalBytes === undefined ? undefined : Math.max(this.#totalBytes, bytes)
    const leftBytes = (total ?? 0) - bytes
    return {
      bytes,
      ...(total === undefined ? {} : { totalBytes: total }),
      ...(rate === undefined ? {} : { bytesPerSecond: Math.round(rate) }),
      ...(rate === undefined || rate <= 0 || leftBytes <= 0
        ? {}
        : { remainingMs: Math.round((leftBytes / rate) * 1000) }),
    }
  }

  #rate(us: number): number | undefined {
    const old = this.#samples.findLastIndex((sample) => us - sample.us >= WINDOW_US)
    this.#samples = [...this.#samples.slice(Math.max(0, old)), { us, arrived: this.#arrived }]
    const [first] = this.#samples
    if (first === undefined || first.us === us) return undefined
    return ((this.#arrived - first.arrived) / (us - first.us)) * 1e6
  }
}
