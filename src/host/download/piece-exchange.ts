import { MachineError } from '../../errors.ts'
import { type Answer, isPage, readAnswer, readValidators } from '../../models/answer.ts'
import { isSameVersion, type PartIdentity } from '../../models/part-map.ts'
import { FIRST_PIECE } from '../../models/pieces.ts'
import type { ResponseHead } from '../../models/response-head.ts'
import { digest } from '../digest.ts'
import { fault } from '../fault.ts'
import type { Exchange, Target } from './exchange.ts'
import { Interrupted } from './failures.ts'
import type { FileTask } from './file-task.ts'

/** A piece of a file as it is asked for: bytes `from` to `to`. */
export interface Piece {
  readonly from: number
  readonly to: number
  /** What comes of it counts as long as its file is in this epoch. */
  readonly epoch: number
  /** Its answer tells what the others can be asked for. */
  readonly isAsking: boolean
  /** It is all of the file, and asked for without a range. */
  readonly isWhole: boolean
  /** Value of If-Range; null where the hash of the whole decides. */
  readonly validator: string | null
}

/** Fetches one piece of a file. */
export class PieceExchange implements Exchange {
  readonly target: Target
  readonly headers: Readonly<Record<string, string>>
  readonly expects: number
  readonly #task: FileTask
  readonly #piece: Piece
  readonly #waitAfter: (bytes: number) => number
  #epoch: number
  #at: number
  #to: number
  #total: number | null = null
  #isMoved = false
  #hasEnded = false
  #doubt: MachineError | undefined

  constructor(task: FileTask, piece: Piece, waitAfter: (bytes: number) => number) {
    this.#task = task
    this.#piece = piece
    this.#waitAfter = waitAfter
    this.#epoch = piece.epoch
    this.#at = piece.from
    this.#to = piece.to
    this.target = task.trail.target
    this.expects = piece.to - piece.from
    this.headers = piece.isWhole
      ? {}
      : {
          range: `bytes=${piece.from}-${piece.to - 1}`,
          ...(piece.validator === null ? {} : { 'if-range': piece.validator }),
        }
  }

  head(head: ResponseHead): boolean {
    if (!this.#task.isCurrent(this.#epoch)) return false
    const { host } = this.target.url
    const answer = readAnswer(head, Date.now())
    // Another piece has found out already that the address has expired.
    if (this.target !== this.#task.trail.target && head.status >= 400) return this.#move()
    const said = `model ${this.#task.request.name}: ${host} answered ${head.status} ${head.reason}`.trimEnd()
    switch (answer.kind) {
      case 'part':
        this.#takePart(head, answer)
        return true
      case 'whole':
        this.#takeWhole(head, answer.total)
        return true
      case 'redirect':
        this.#task.trail.follow(answer.location)
        return this.#move()
      case 'auth':
        if (this.#task.trail.renew()) return this.#move()
        throw this.#unauthorised(said)
      case 'retry':
        throw new Interrupted(new MachineError('CM1802', said), answer.waitMs)
      case 'odd-range':
        throw new Interrupted(new MachineError('CM1802', `${said} with another range than was asked for`))
      case 'no-range':
        // Of an empty file there is no first byte.
        if (answer.total !== 0 || this.#task.mode !== 'asking') {
          throw new Interrupted(new MachineError('CM1811', `${said} to bytes that it had`), 0, true)
        }
        this.#takeWhole(head, 0)
        return false
      case 'refused':
        if (this.#task.trail.renew()) return this.#move()
        throw new MachineError('CM1802', said)
    }
  }

  #move(): boolean {
    this.#isMoved = true
    return false
  }

  body(data: Uint8Array): number {
    const task = this.#task
    if (!task.isCurrent(this.#epoch)) throw fault('ECANCELED', 'the piece is not wanted any more')
    if (this.#at === 0) this.#checkBegin(data)
    const wanted = data.subarray(0, this.#to - this.#at)
    task.part.write(wanted, this.#at)
    this.#at += wanted.length
    task.request.onBytes(wanted.length)
    if (wanted.length < data.length) this.#cut()
    return this.#waitAfter(data.length)
  }

  end(): void {
    if (this.#isMoved) this.#task.returned(this.#piece, true)
    else if (this.#doubt !== undefined) this.fail(this.#doubt)
    else if (this.#total !== null && this.#at < this.#to) {
      this.fail(fault('ECONNRESET', `${this.#at} of ${this.#to} bytes came`))
    } else this.#task.arrived(this.#epoch, this.#at)
  }

  fail(error: unknown): void {
    if (this.#hasEnded) return
    const rest = { ...this.#piece, epoch: this.#epoch, from: this.#at, to: this.#to }
    this.#task.failed(error, rest, this.#at - this.#piece.from)
  }

  abandon(): void {
    this.#task.returned(this.#piece, false)
  }

  #takePart(head: ResponseHead, { from, to, total }: Extract<Answer, { readonly kind: 'part' }>): void {
    const { part, request } = this.#task
    const { host } = this.target.url
    if (from !== this.#piece.from || to > this.#to || (to < this.#to && to !== total)) {
      throw new Interrupted(
        new MachineError('CM1802', `model ${request.name}: ${host} answered with another range than was asked for`),
      )
    }
    const identity = this.#identify(head, total)
    const isFirst = part.identity === undefined
    if (part.identity === undefined) {
      this.#checkCoding(head)
      this.#doubt = this.#sizeProblem(total)
      if (this.#doubt === undefined) part.begin(identity, this.#task.onFull)
    } else if (!isSameVersion(part.identity, identity, request.sha256 !== null)) throw this.#changed()
    this.#to = to
    this.#total = total
    if (this.#doubt === undefined) this.#task.beginRanges({ from, to }, isFirst)
  }

  /** All of the file: what was there of it is of no use. */
  #takeWhole(head: ResponseHead, total: number | null): void {
    const { request } = this.#task
    const canRange = head.headers.get('accept-ranges') === 'bytes'
    const isChanged = this.#piece.validator !== null && canRange && (total ?? 0) > FIRST_PIECE
    if (isChanged || this.#task.mode !== 'asking') throw this.#changed()
    this.#checkCoding(head)
    this.#doubt = total === null ? undefined : this.#sizeProblem(total)
    this.#epoch = this.#task.beginStream()
    this.#at = 0
    this.#total = total
    this.#to = total ?? request.bytes ?? request.mostBytes
    if (total !== null && this.#doubt === undefined)
      this.#task.part.begin(this.#identify(head, total), this.#task.onFull)
  }

  #identify(head: ResponseHead, total: number): PartIdentity {
    const { request, trail } = this.#task
    return { source: digest(trail.source.url), sha256: request.sha256, total, ...readValidators(head) }
  }

  /** Why a file of this size is not taken; its first bytes may tell better. */
  #sizeProblem(total: number): MachineError | undefined {
    const { bytes, name, mostBytes } = this.#task.request
    const { host } = this.target.url
    if (bytes !== null && bytes !== total) {
      return new MachineError('CM1810', `model ${name}: ${host} has ${total} bytes, expected ${bytes}`)
    }
    if (bytes !== null || total <= mostBytes) return undefined
    return new MachineError('CM1806', `model ${name}: ${host} has ${total} bytes, there is room for ${mostBytes}`)
  }

  #checkCoding(head: ResponseHead): void {
    const coding = head.headers.get('content-encoding')
    if (coding === undefined || coding.toLowerCase() === 'identity') return
    const { name } = this.#task.request
    throw new MachineError('CM1802', `model ${name}: ${this.target.url.host} answered in the coding ${coding}`)
  }

  #checkBegin(data: Uint8Array): void {
    const { name } = this.#task.request
    if (isPage(data)) throw new MachineError('CM1808', `model ${name}: ${this.target.url.host} sent a web page`)
    if (this.#doubt !== undefined) throw this.#doubt
  }

  /** More comes than was asked for. What was wanted of it has been taken; the rest is not read. */
  #cut(): never {
    const { mode, request } = this.#task
    const says = `model ${request.name}: ${this.target.url.host} sends more than`
    if (mode === 'stream' && request.bytes !== null) throw new MachineError('CM1810', `${says} ${request.bytes} bytes`)
    if (mode === 'stream') throw new MachineError('CM1806', `${says} the ${this.#to} bytes that there is room for`)
    this.#task.arrived(this.#epoch, null)
    this.#hasEnded = true
    throw fault('ECANCELED', `${says} the range that was asked for`)
  }

  #changed(): Interrupted {
    const text = `model ${this.#task.request.name}: ${this.target.url.host} has another file than before`
    return new Interrupted(new MachineError('CM1811', text), 0, true)
  }

  #unauthorised(said: string): MachineError {
    const { token, tokenVariable } = this.#task.trail.source
    if (token !== null) return new MachineError('CM1803', `${said} to the token of ${tokenVariable ?? 'the model'}`)
    const why = tokenVariable === null ? 'and no token is known for it' : `and ${tokenVariable} is not set`
    return new MachineError('CM1803', `${said} ${why}`)
  }
}
