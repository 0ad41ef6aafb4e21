import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { RangeSet } from '../../../src/models/range-set.ts'

const SIZE = 40
const ranges = fc.array(
  fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([a, b]) => ({ from: Math.min(a, b), to: Math.max(a, b) })),
)

/** The bytes of ranges one by one. */
function bytesOf(list: readonly { readonly from: number; readonly to: number }[]): ReadonlySet<number> {
  return new Set(list.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, index) => from + index)))
}

describe('RangeSet', () => {
  it('holds exactly the bytes that were added, sorted and apart', () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const set = new RangeSet(list)
        expect(bytesOf(set.ranges)).toEqual(bytesOf(list))
        expect(set.bytes).toBe(bytesOf(list).size)
        for (const [index, range] of set.ranges.entries()) {
          expect(range.to).toBeGreaterThan(range.from)
          expect(range.from).toBeGreaterThan(set.ranges[index - 1]?.to ?? -1)
        }
      }),
    )
  })

  it('says what is missing', () => {
    fc.assert(
      fc.property(ranges, fc.nat(SIZE), (list, total) => {
        const have = bytesOf(list)
        const wanted = Array.from({ length: total }, (_, at) => at).filter((at) => !have.has(at))
        expect([...bytesOf(new RangeSet(list).missing(total).ranges)]).toEqual(wanted)
      }),
    )
  })

  it('gives its bytes out in order, each once', () => {
    fc.assert(
      fc.property(ranges, fc.integer({ min: 1, max: 7 }), (list, most) => {
        const set = new RangeSet(list)
        const taken = []
        for (let piece = set.take(most); piece !== undefined; piece = set.take(most)) {
          expect(piece.to - piece.from).toBeLessThanOrEqual(most)
          taken.push(piece)
        }
        const bytes = taken.flatMap((piece) => [...bytesOf([piece])])
        expect(bytes).toEqual([...bytesOf(list)].sort((a, b) => a - b))
      }),
    )
  })

  it('knows how far the file is whole from its begin', () => {
    expect(new RangeSet([{ from: 4, to: 9 }]).prefix).toBe(0)
    const set = new RangeSet([
      { from: 0, to: 4 },
      { from: 6, to: 9 },
    ])
    expect(set.prefix).toBe(4)
    set.add(4, 6)
    expect(set.prefix).toBe(9)
  })
})
