/** Gathers small pieces into larger ones, because each write costs a system call. With room for none each is passed on as it comes. */
export class Gather {
  readonly #buffer: Buffer
  readonly #pass: (data: Uint8Array) => void
  #filled = 0

  constructor(bytes: number, pass: (data: Uint8Array) => void) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes)
    this.#pass = pass
  }

  add(data: Uint8Array): void {
    if (this.#filled + data.length > this.#buffer.length) this.flush()
    if (data.length >= this.#buffer.length) {
      this.#pass(data)
      return
    }
    this.#buffer.set(data, this.#filled)
    this.#filled += data.length
  }

  /** Passes on what is gathered. */
  flush(): void {
    const length = this.#filled
    this.#filled = 0
    if (length > 0) this.#pass(this.#buffer.subarray(0, length))
  }

  /** Forgets what is gathered. */
  drop(): void {
    this.#filled = 0
  }
}
