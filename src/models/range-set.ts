/** Bytes `from` (the first one) to `to` (the one after the last) of a file. */
export interface ByteRange {
  readonly from: number
  readonly to: number
}

/** Ranges of one file: sorted, apart from each other, none of them empty. */
export class RangeSet {
  #ranges: ByteRange[] = []

  constructor(ranges: readonly ByteRange[] = []) {
    for (const { from, to } of ranges) this.add(from, to)
  }

  /** Sorted and merged. */
  get ranges(): readonly ByteRange[] {
    return this.#ranges
  }

  /** Number of bytes in all ranges. */
  get bytes(): number {
    return this.#ranges.reduce((sum, { from, to }) => sum + to - from, 0)
  }

  /** The bytes from the begin of the file on without a gap. */
  get prefix(): number {
    const [first] = this.#ranges
    return first?.from === 0 ? first.to : 0
  }

  add(from: number, to: number): void {
    if (to <= from) return
    const ranges = this.#ranges
    let begin = ranges.length
    while (begin > 0 && (ranges[begin - 1]?.to ?? 0) >= from) begin -= 1
    let [low, high] = [from, to]
    let end = begin
    for (let range = ranges[end]; range !== undefined && range.from <= to; range = ranges[end]) {
      low = Math.min(low, range.from)
      high = Math.max(high, range.to)
      end += 1
    }
    ranges.splice(begin, end - begin, { from: low, to: high })
  }

  /** Takes up to `most` of the first bytes that are in the set out of it; undefined when it is empty. */
  take(most: number): ByteRange | undefined {
    const [first] = this.#ranges
    if (first === undefined) return undefined
    const to = Math.min(first.to, first.from + most)
    if (to === first.to) this.#ranges.shift()
    else this.#ranges[0] = { from: to, to: first.to }
    return { from: first.from, to }
  }

  /** What is not in the set of the first `total` bytes. */
  missing(total: number): RangeSet {
    const missing: ByteRange[] = []
    let at = 0
    for (const { from, to } of this.#ranges) {
      if (from > at) missing.push({ from: at, to: Math.min(from, total) })
      at = Math.max(at, to)
    }
    if (at < total) missing.push({ from: at, to: total })
    return new RangeSet(missing)
  }
}
