const MIB = 1024 * 1024
const SMALLEST = MIB
const LARGEST = 64 * MIB
/** A file is cut into about so many pieces: few requests for a large one. */
const PIECES = 256

/** Bytes that a connection is first given of a file that comes in pieces. */
const TRIAL_PIECE = 2 * MIB
/** A connection is given about as much as it brings in so many milliseconds; of a large file more, for the sake of the server. */
const PIECE_MS = 250
const LARGE_PIECE_MS = 1_000
const LARGE_BYTES = 2048 * MIB

/** Bytes of the first request for a file, and of every piece of one that is not large. */
export const FIRST_PIECE = 8 * MIB

/**
 * Bytes of the next piece of a file: few large ones while much is missing, smaller ones towards the end, so that all connections
 * end at about the same time. Pieces follow each other in the file, so that it can be hashed while it comes: a connection that
 * brings `perMs` bytes a millisecond, undefined before it has brought any, is given no piece that the others would wait for.
 */
export function pieceSize(total: number, missing: number, connections: number, perMs: number | undefined): number {
  const even = Math.min(LARGEST, Math.max(FIRST_PIECE, Math.ceil(total / PIECES)))
  const share = Math.ceil(missing / (2 * connections))
  const ms = total > LARGE_BYTES ? LARGE_PIECE_MS : PIECE_MS
  const own = perMs === undefined ? TRIAL_PIECE : Math.ceil(perMs * ms)
  return Math.min(even, Math.max(SMALLEST, Math.min(share, own)))
}
