import { MachineError } from '../../errors.ts'
import { RangeSet } from '../../models/range-set.ts'
import type { FetchRequest } from '../model-ports.ts'
import type { PartFile } from './part-file.ts'

/** What has arrived of a file, and from where. */
export class Arrival {
  readonly #request: FetchRequest
  readonly #part: PartFile
  readonly #contributors = new Set<number>()
  #resumed: number

  constructor(request: FetchRequest, part: PartFile) {
    this.#request = request
    this.#part = part
    this.#resumed = part.arrived.bytes
  }

  /** Bytes that were there before. */
  get resumed(): number {
    return this.#resumed
  }

  /** A source has answered with the file. */
  get hasBegun(): boolean {
    return this.#part.identity !== undefined
  }

  /** Size of the file, as the source said or whoever asked for it. */
  get total(): number | null {
    return this.#part.identity?.total ?? this.#request.bytes
  }

  /** The parts are from several times or places: when the whole is wrong nobody knows which of them is. */
  get isMixed(): boolean {
    return this.#resumed > 0 || this.#contributors.size > 1
  }

  /** The source of this number sends bytes of it. */
  credit(source: number): void {
    this.#contributors.add(source)
  }

  /** What has not arrived, and is not `arriving`; empty while no size is known. */
  missing(arriving: { readonly from: number; readonly to: number } = { from: 0, to: 0 }): RangeSet {
    const { total } = this
    if (total === null) return new RangeSet()
    const known = new RangeSet(this.#part.identity === undefined ? [] : this.#part.arrived.ranges)
    known.add(arriving.from, arriving.to)
    return known.missing(total)
  }

  /** CM1804 when the whole has another sha256 than expected. */
  mismatch(sha256: string, host: string): MachineError | undefined {
    const { sha256: expected, name } = this.#request
    if (expected === null || expected === sha256) return undefined
    return new MachineError('CM1804', `model ${name}: sha256 of what ${host} sent is ${sha256}, expected ${expected}`)
  }

  /** Nothing of it counts any more. */
  forget(): void {
    const bytes = this.#part.reset()
    if (bytes > 0) this.#request.onBytes(-bytes)
    this.#resumed = 0
    this.#contributors.clear()
  }
}
