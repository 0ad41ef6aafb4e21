import { createHash, type Hash } from 'node:crypto'
import { closeSync, openSync, readSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'

/** What the thread is told: a file grows to `upTo` whole bytes from its begin, is whole with them, or is not wanted any more. */
export type HashOrder =
  | { readonly kind: 'advance'; readonly id: number; readonly path: string; readonly upTo: number }
  | {
      readonly kind: 'finish'
      readonly id: number
      readonly path: string
      readonly upTo: number
      /** Says how much was read while it reads. */
      readonly isTold: boolean
    }
  | { readonly kind: 'cancel'; readonly id: number }

/** What the thread says of a file. */
export type HashAnswer =
  | { readonly kind: 'read'; readonly id: number; readonly bytes: number }
  | { readonly kind: 'hashed'; readonly id: number; readonly sha256: string }
  | { readonly kind: 'failed'; readonly id: number; readonly error: Error }

interface Work {
  readonly fd: number
  readonly hash: Hash
  at: number
}

const MIB = 1024 * 1024
/** Whoever waits for a small file does not wait for a large one after it. */
const TOLD_BYTES = 8 * MIB

const files = new Map<number, Work>()
// It stays in the cache of the core between the read and the hash.
const buffer = Buffer.allocUnsafeSlow(128 * 1024)

function open(id: number, path: string): Work {
  const known = files.get(id)
  if (known !== undefined) return known
  const work: Work = { fd: openSync(path, 'r'), hash: createHash('sha256'), at: 0 }
  files.set(id, work)
  return work
}

function close(id: number): void {
  const work = files.get(id)
  files.delete(id)
  if (work !== undefined) closeSync(work.fd)
}

function hashTo(work: Work, upTo: number, onRead = (_bytes: number): void => undefined): void {
  while (work.at < upTo) {
    const read = readSync(work.fd, buffer, 0, Math.min(buffer.length, upTo - work.at), work.at)
    if (read === 0) throw new Error(`the file ends at ${work.at} bytes`)
    work.hash.update(buffer.subarray(0, read))
    work.at += read
    onRead(read)
  }
}

/** Tells a MiB at a time: a message costs more than a read. */
function tellReads(id: number): { readonly add: (bytes: number) => undefined; readonly end: () => void } {
  let untold = 0
  const end = (): void => {
    if (untold > 0) answer({ kind: 'read', id, bytes: untold })
    untold = 0
  }
  return {
    add(bytes) {
      untold += bytes
      if (untold >= MIB) end()
    },
    end,
  }
}

function carryOut(order: HashOrder): HashAnswer | undefined {
  if (order.kind === 'cancel') {
    close(order.id)
    return undefined
  }
  const { id, path, upTo } = order
  try {
    const work = open(id, path)
    const reads = order.kind === 'finish' && order.isTold ? tellReads(id) : undefined
    hashTo(work, upTo, reads?.add)
    reads?.end()
    if (order.kind === 'advance') return undefined
    close(id)
    return { kind: 'hashed', id, sha256: work.hash.digest('hex') }
  } catch (thrown) {
    close(id)
    return { kind: 'failed', id, error: thrown instanceof Error ? thrown : new Error(String(thrown)) }
  }
}

function answer(what: HashAnswer): void {
  parentPort?.postMessage([what])
}

// Orders and answers come and go in numbers: to wake a thread costs more than to hash a small file.
parentPort?.on('message', (orders: readonly HashOrder[]) => {
  let ends: HashAnswer[] = []
  let bytes = 0
  const tell = (): void => {
    if (ends.length > 0) parentPort?.postMessage(ends)
    ends = []
    bytes = 0
  }
  for (const order of orders) {
    const end = carryOut(order)
    if (end !== undefined) ends.push(end)
    bytes += order.kind === 'cancel' ? 0 : order.upTo
    if (bytes >= TOLD_BYTES) tell()
  }
  tell()
})
