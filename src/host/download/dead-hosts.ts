const AVOIDED_MS = 5 * 60_000

/** Hosts that could not be reached a moment ago: while another source has the file they are not asked. */
export class DeadHosts {
  readonly #untilMs = new Map<string, number>()

  add(host: string): void {
    this.#untilMs.set(host, Date.now() + AVOIDED_MS)
  }

  has(host: string): boolean {
    return (this.#untilMs.get(host) ?? 0) > Date.now()
  }
}
