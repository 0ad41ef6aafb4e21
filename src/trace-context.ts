import { STARTUP_SPAN } from './steps.ts'

const FNV_OFFSET = 0xcbf29ce484222325n
const FNV_PRIME = 0x100000001b3n

/**
 * A span id (16 hex digits) that follows from a trace id and a name, so that a restarted controller and a replayed
 * record give the same span the same id. FNV-1a, 64 bit; never all zero (W3C Trace Context).
 */
export function spanIdOf(traceId: string, name: string): string {
  let hash = FNV_OFFSET
  for (const char of `${traceId}/${name}`) {
    hash ^= BigInt(char.codePointAt(0) ?? 0)
    hash = BigInt.asUintN(64, hash * FNV_PRIME)
  }
  return (hash === 0n ? 1n : hash).toString(16).padStart(16, '0')
}

/** The span id of a unit: the first 64 bits of its InvocationID. */
export function spanIdOfInvocation(invocationId: string): string {
  return invocationId.slice(0, 16)
}

/** The span id of a startup's root. */
export function rootSpanId(traceId: string): string {
  return spanIdOf(traceId, STARTUP_SPAN)
}

/** The value of a `traceparent` header or of the variable TRACEPARENT, sampled (W3C Trace Context, version 00). */
export function traceparentOf(traceId: string, spanId: string): string {
  return `00-${traceId}-${spanId}-01`
}

/**
 * The span id of a piece of a unit's work: it follows from the unit's InvocationID (the trace id where there is none) and
 * the keys that lead to the piece, so that the process that does the work knows it too.
 */
export function spanIdOfWork(invocationId: string, keys: readonly string[]): string {
  return spanIdOf(invocationId, `child/${keys.join('/')}`)
}
