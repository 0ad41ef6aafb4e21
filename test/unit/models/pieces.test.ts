import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FIRST_PIECE, pieceSize } from '../../../src/models/pieces.ts'

const MIB = 2 ** 20
const GIB = 2 ** 30
/** Bytes a millisecond that need no piece smaller than the usual. */
const FAST = GIB / 1000

describe('pieceSize', () => {
  it('is the usual one for a file of a GiB, larger for a larger file, and bounded', () => {
    expect(pieceSize(GIB, GIB, 16, FAST)).toBe(FIRST_PIECE)
    expect(pieceSize(12 * GIB, 12 * GIB, 16, FAST)).toBe(48 * MIB)
    expect(pieceSize(400 * GIB, 400 * GIB, 16, FAST)).toBe(64 * MIB)
  })

  it('falls towards the end, so that no connection has much to do alone', () => {
    expect(pieceSize(GIB, 64 * MIB, 16, FAST)).toBe(2 * MIB)
    expect(pieceSize(GIB, 3 * MIB, 16, FAST)).toBe(MIB)
  })

  it('is what a connection brings in a quarter of a second, little before that is known, and never tiny', () => {
    expect(pieceSize(GIB, GIB, 16, (12 * MIB) / 1000)).toBe(3 * MIB)
    expect(pieceSize(GIB, GIB, 16, undefined)).toBe(2 * MIB)
    expect(pieceSize(GIB, GIB, 16, 10)).toBe(MIB)
    // Of a large file what it brings in a second.
    expect(pieceSize(12 * GIB, 12 * GIB, 16, (12 * MIB) / 1000)).toBe(12 * MIB)
  })

  it('makes few requests of any file', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 500 * GIB }), fc.integer({ min: 1, max: 64 }), (total, connections) => {
        let [missing, pieces] = [total, 0]
        for (; missing > 0; pieces += 1) missing -= Math.min(missing, pieceSize(total, missing, connections, FAST))
        expect(pieces).toBeLessThan(total / (64 * MIB) + 256 + 12 * connections)
      }),
    )
  })
})
