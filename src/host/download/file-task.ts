import type { MachineError } from '../../errors.ts'
import { validatorOf } from '../../models/part-map.ts'
import { FIRST_PIECE, pieceSize } from '../../models/pieces.ts'
import type { ByteRange, RangeSet } from '../../models/range-set.ts'
import type { FetchedFile, FetchRequest } from '../model-ports.ts'
import { Arrival } from './arrival.ts'
import type { Exchange } from './exchange.ts'
import { judgeFailure, ofFileSystem } from './failures.ts'
import type { PartFile } from './part-file.ts'
import { type Piece, PieceExchange } from './piece-exchange.ts'
import type { SourceTrail } from './source-trail.ts'
import type { TaskSettings } from './task-settings.ts'
import { Tries } from './tries.ts'

/** ask: nobody has answered yet. asking: one request is on its way. ranges: pieces are fetched. stream: all comes in one answer. */
type Mode = 'ask' | 'asking' | 'ranges' | 'stream' | 'ended'

/**
 * One file on its way: what of it is to be asked for next, and what a failure means for it. An exchange belongs to an epoch:
 * what comes of an earlier one counts no more.
 */
export class FileTask {
  readonly request: FetchRequest
  readonly part: PartFile
  readonly trail: SourceTrail
  readonly #settings: TaskSettings
  readonly #arrival: Arrival
  readonly #outcome = Promise.withResolvers<FetchedFile>()
  #mode: Mode = 'ask'
  #missing: RangeSet
  #epoch = 0
  #isLibrary: boolean
  readonly #tries: Tries
  #attempts = 1

  constructor(request: FetchRequest, part: PartFile, trail: SourceTrail, settings: TaskSettings) {
    this.request = request
    this.part = part
    this.trail = trail
    this.#settings = settings
    this.#tries = new Tries(settings.retry)
    this.#isLibrary = settings.isProxied
    this.#arrival = new Arrival(request, part)
    this.#missing = this.#arrival.missing()
  }

  /** The whole and verified file. Rejects with what kept it from being so. */
  get done(): Promise<FetchedFile> {
    return this.#outcome.promise
  }

  /** The library is to carry what is claimed. */
  get isLibrary(): boolean {
    return this.#isLibrary
  }

  /** The next claim is worth a try then, in milliseconds since the epoch. */
  get notBeforeMs(): number {
    return this.#tries.notBeforeMs
  }

  get mode(): Mode {
    return this.#mode
  }

  /** Begins; a file of which everything has arrived before is not asked for. */
  begin(): void {
    if (this.#arrival.resumed > 0) this.request.onResume(this.#arrival.resumed)
    const total = this.part.identity?.total
    if (total !== undefined && this.#missing.bytes === 0) this.#complete(total)
    else this.#settings.wake()
  }

  /** Ends it, whatever is on its way. */
  stop(error: unknown): void {
    if (this.#mode === 'ended') return
    this.#mode = 'ended'
    this.#outcome.reject(error)
  }

  /** There is no room for the file. */
  readonly onFull = (error: unknown): void => this.stop(ofFileSystem(this.request.name, error))

  /** To be called before a connection is chosen: the source may be passed over. */
  chooseSource(): void {
    if (this.#mode === 'ask' && this.trail.passDead()) this.#takeSource()
  }

  /** The next request for this file, for a connection that brings `perMs` bytes a millisecond; undefined when there is none now. */
  claim(nowMs: number, perMs: number | undefined): Exchange | undefined {
    if (nowMs < this.notBeforeMs) return undefined
    const { total } = this.#arrival
    if (this.#mode === 'ask') {
      this.#mode = 'asking'
      return this.#exchange(this.#missing.take(FIRST_PIECE) ?? { from: 0, to: FIRST_PIECE }, true)
    }
    if (this.#mode !== 'ranges' || total === null) return undefined
    const piece = this.#missing.take(pieceSize(total, this.#missing.bytes, this.#settings.connections, perMs))
    return piece === undefined ? undefined : this.#exchange(piece, false)
  }

  #exchange({ from, to }: ByteRange, isAsking: boolean): Exchange {
    const { identity } = this.part
    // Whoever knows the hash finds out in the end whether it was one file all along.
    const validator = identity === undefined || this.request.sha256 !== null ? null : validatorOf(identity)
    const isWhole = isAsking && from === 0 && to === this.#arrival.total
    return new PieceExchange(
      this,
      { from, to, epoch: this.#epoch, isAsking, isWhole, validator },
      this.#settings.waitAfter,
    )
  }

  /** Tells whether an exchange of an epoch still counts. */
  isCurrent(epoch: number): boolean {
    return epoch === this.#epoch && this.#mode !== 'ended'
  }

  /** The file comes in pieces, and bytes of this one are on their way: the others can be asked for. */
  beginRanges(piece: ByteRange, isFirst: boolean): void {
    this.#arrival.credit(this.trail.index)
    if (this.#mode !== 'asking') return
    this.#mode = 'ranges'
    if (isFirst) this.#missing = this.#arrival.missing(piece)
    this.#settings.wake()
  }

  /** All of the file comes in this one answer, from its first byte on. Returns the epoch that begins with it. */
  beginStream(): number {
    this.#forget()
    this.#mode = 'stream'
    this.#arrival.credit(this.trail.index)
    return this.#epoch
  }

  /** A piece has come, or with `total` all of a stream. */
  arrived(epoch: number, total: number | null): void {
    if (!this.isCurrent(epoch)) return
    this.#tries.reset()
    this.trail.settle()
    const size = this.part.identity?.total ?? total
    if (this.#mode === 'stream' || this.part.arrived.bytes === size) this.#complete(size ?? 0)
  }

  /** As if a piece had never been claimed; `isMoved` when the next question is where to ask for it. */
  returned(piece: Piece, isMoved: boolean): void {
    if (!this.isCurrent(piece.epoch)) return
    this.#giveBack(piece)
    if (isMoved && this.#mode === 'ranges') this.#mode = 'ask'
    this.#settings.wake()
  }

  /** An exchange failed: `arrived` bytes of it have come, those of `piece` have not. */
  failed(error: unknown, piece: Piece, arrived: number): void {
    if (!this.isCurrent(piece.epoch)) return
    const { host } = this.trail.target.url
    const judged = judgeFailure(error, { name: this.request.name, host, hasBegun: this.#arrival.hasBegun })
    const isGained = arrived > 0 && this.#mode !== 'stream'
    if (this.#mode === 'stream' || (judged.kind === 'retry' && judged.isOver)) this.#forget()
    else this.#giveBack(piece)
    switch (judged.kind) {
      case 'fatal':
        this.stop(judged.failure)
        break
      case 'source':
        this.#nextSource(judged.failure)
        break
      case 'library':
        this.#isLibrary = true
        break
      case 'retry':
        if (isGained) this.#tries.reset()
        else this.#countFailure(judged.failure, judged.waitMs)
    }
    this.#settings.wake()
  }

  #giveBack({ from, to, isAsking }: Piece): void {
    // While nobody knows the size the next question is about the first bytes anyway.
    if (this.#arrival.total !== null) this.#missing.add(from, to)
    if (isAsking) this.#mode = 'ask'
  }

  #countFailure(failure: MachineError, waitMs: number): void {
    // A mirror that cannot be reached is not waited for.
    const isOver = failure.code === 'CM1801' && this.trail.blame()
    const count = isOver ? 'over' : this.#tries.count(waitMs)
    if (count === 'over') this.#nextSource(failure)
    else if (count === 'again') this.#tellRetry(failure)
  }

  #nextSource(failure: MachineError): void {
    if (!this.trail.hasNext) {
      this.stop(failure)
      return
    }
    this.#tellRetry(failure)
    this.trail.advance()
    this.#takeSource()
    this.#askAnew()
  }

  #takeSource(): void {
    this.#tries.reset()
    this.#isLibrary = this.#settings.isProxied
    // Of another source's file nobody knows whether it is the same, but by its hash.
    if (this.request.sha256 === null) this.#arrival.forget()
  }

  #tellRetry(failure: MachineError): void {
    this.request.onRetry(failure, this.#attempts)
    this.#attempts += 1
  }

  /** What is on its way does not count any more. */
  #askAnew(): void {
    this.#epoch += 1
    this.#mode = 'ask'
    this.#missing = this.#arrival.missing()
  }

  /** Nothing has arrived, and what was asked for before is of no use. */
  #forget(): void {
    this.#arrival.forget()
    this.#askAnew()
  }

  #complete(total: number): void {
    this.#mode = 'ended'
    this.part.finish(total).then(
      (sha256) => this.#verify(total, sha256),
      (error: unknown) => this.#outcome.reject(ofFileSystem(this.request.name, error)),
    )
  }

  #verify(bytes: number, sha256: string): void {
    const { host } = new URL(this.trail.source.url)
    const { resumed, isMixed } = this.#arrival
    const failure = this.#arrival.mismatch(sha256, host)
    if (failure === undefined) {
      this.#outcome.resolve({ bytes, sha256, resumed, attempts: this.#attempts, host })
      return
    }
    if (isMixed) this.#tellRetry(failure)
    this.#forget()
    if (!isMixed) this.#nextSource(failure)
    this.#settings.wake()
  }
}
