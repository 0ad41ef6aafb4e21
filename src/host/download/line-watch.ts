/** What is known of a connection's pace. Times: milliseconds since the epoch. */
export class LineWatch {
  #isBusy = false
  #isPaused = false
  #seenMs = 0
  #busySinceMs = 0
  #count = 0
  #busyBytes = 0
  #perMs: number | undefined

  /** An answer is waited for from now on. */
  begin(): void {
    this.#isBusy = true
    this.#seenMs = Date.now()
    this.#busySinceMs = this.#seenMs
    this.#busyBytes = 0
  }

  /** Something came, so many bytes of a body among it. */
  see(bytes: number): void {
    this.#seenMs = Date.now()
    this.#count += bytes
    this.#busyBytes += bytes
    if (this.#busyBytes > 0) this.#perMs = this.#busyBytes / Math.max(1, this.#seenMs - this.#busySinceMs)
  }

  /** Bytes of bodies a millisecond since waiting began, or when it last did; undefined before any has come. */
  get perMs(): number | undefined {
    return this.#perMs
  }

  /** Nothing is waited for any more. */
  end(): void {
    this.#isBusy = false
  }

  /** Nothing is read for a time, by our own wish. */
  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
    this.begin()
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  /** How long nothing has come that is waited for. */
  silentMs(nowMs: number): number {
    return this.#isBusy && !this.#isPaused ? nowMs - this.#seenMs : 0
  }

  /** How long it has been waited for bytes without a pause. */
  busyMs(nowMs: number): number {
    return this.#isBusy && !this.#isPaused ? nowMs - this.#busySinceMs : 0
  }

  /** Bytes of bodies since this was last asked. */
  takeCount(): number {
    const count = this.#count
    this.#count = 0
    return count
  }
}
