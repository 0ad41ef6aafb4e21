import { parseResponseHead, type ResponseHead } from '../../models/response-head.ts'
import { fault } from '../fault.ts'

const LARGEST_HEAD = 64 * 1024
const HEAD_END = Buffer.from('\r\n\r\n')

/** Gathers the bytes of an answer's head, which may come in parts. Throws EPROTO for what is none. */
export class HeadReader {
  #bytes: Buffer = Buffer.alloc(0)

  /** Nothing of a head has come. */
  isEmpty(): boolean {
    return this.#bytes.length === 0
  }

  /** Takes bytes from `at` on; `used` of them belong to the head, which is there when it is whole. */
  read(data: Uint8Array, at: number, count: number): { readonly used: number; readonly head?: ResponseHead } {
    const before = this.#bytes.length
    const part = Buffer.from(data.buffer, data.byteOffset + at, Math.min(count - at, LARGEST_HEAD))
    // As a rule it is whole in what has come, with bytes of the body behind it that are not worth a copy.
    const bytes = before === 0 ? part : Buffer.concat([this.#bytes, part])
    const end = bytes.indexOf(HEAD_END)
    if (end < 0) {
      if (bytes.length >= LARGEST_HEAD) throw fault('EPROTO', 'the head of the answer does not end')
      this.#bytes = Buffer.from(bytes)
      return { used: count - at }
    }
    const text = bytes.toString('latin1', 0, end)
    this.#bytes = Buffer.alloc(0)
    return { used: end + HEAD_END.length - before, head: parse(text) }
  }
}

function parse(text: string): ResponseHead {
  try {
    return parseResponseHead(text)
  } catch (error) {
    throw error instanceof RangeError ? fault('EPROTO', error.message, error) : error
  }
}
