const MIB = 1024 * 1024
const SMALLEST = MIB
const LARGEST = 64 * MIB
/** A file is cut into about so many pieces: few requests for a large one. */
const PIECES = 256

/** Bytes of the first request for a file, and of every piece of one that is not large. */
export const FIRST_PIECE = 8 * MIB

/**
 * Bytes of the next piece of a file: few large ones while much is missing, smaller ones towards the end, so that all connections
 * end at about the same time. Pieces follow each other in the file, so that it can be hashed while it comes.
 */
export function pieceSize(total: number, missing: number, connections: number): number {
  const even = Math.min(LARGEST, Math.max(FIRST_PIECE, Math.ceil(total / PIECES)))
  const share = Math.ceil(missing / (2 * connections))
  return Math.min(even, Math.max(SMALLEST, share))
}
