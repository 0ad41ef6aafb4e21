import { messageOf } from '../errors.ts'
import type { Clock, Files, SpanRecord } from '../host/ports.ts'
import type { Outbox } from './outbox.ts'

const INTERVAL_MS = 15
/** How long a disk that took no spans is left alone. */
const RETRY_MS = 5_000

/** What the writer of records works with. */
export interface WriterHost {
  readonly clock: Clock
  readonly files: Files
  readonly stateFile: string
  /** The state as it is now; asked for at each write. */
  readonly renderState: () => string
  /** Told of what could not be written; writing goes on. */
  readonly onProblem: (problem: string) => void
}

/**
 * Writes the state file and the outbox behind the controller, changes of 15 ms together. The state is always written
 * before the spans of what it says: who carries a startup on after a crash finds each span on disk or its step in the state.
 */
export class RecordWriter {
  readonly #host: WriterHost
  #outbox: Outbox | undefined
  #spans: SpanRecord[] = []
  #awaited = new Set<Promise<void>>()
  #writing: Promise<void> = Promise.resolve()
  #isDirty = false
  #isDue = false
  #isFailing = false
  #writtenMs = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined

  constructor(host: WriterHost) {
    this.#host = host
  }

  /** From now on spans go to an outbox; those that came before are added to it. */
  keepSpans(outbox: Outbox): void {
    this.#outbox = outbox
    if (this.#spans.length > 0) this.#schedule()
  }

  /** The state has changed. */
  changed(): void {
    this.#isDirty = true
    this.#schedule()
  }

  /** Spans to be kept, now or when what they wait for is known. */
  append(spans: readonly SpanRecord[] | Promise<readonly SpanRecord[]>): void {
    if (!(spans instanceof Promise)) {
      this.#add(spans)
      return
    }
    const awaited = spans
      .then((known) => this.#add(known))
      .catch((error: unknown) => this.#host.onProblem(`a span is lost: ${messageOf(error)}`))
      .finally(() => this.#awaited.delete(awaited))
    this.#awaited.add(awaited)
  }

  /** Resolves when everything told so far is on disk, or could not be written. */
  async flush(): Promise<void> {
    await Promise.all(this.#awaited)
    if (this.#isDue) this.#enqueue()
    await this.#writing
  }

  #add(spans: readonly SpanRecord[]): void {
    this.#spans.push(...spans)
    if (spans.length > 0) this.#schedule()
  }

  #schedule(): void {
    if (this.#isDue) return
    this.#isDue = true
    const waitMs = this.#writtenMs + INTERVAL_MS - this.#host.clock.nowUs() / 1000
    if (waitMs <= 0) this.#enqueue()
    else this.#timer = setTimeout(() => this.#enqueue(), Math.min(waitMs, INTERVAL_MS))
  }

  #enqueue(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#isDue = false
    this.#writing = this.#writing.then(() => this.#write())
  }

  async #write(): Promise<void> {
    const { clock, files, stateFile, renderState } = this.#host
    this.#writtenMs = clock.nowUs() / 1000
    const spans = this.#outbox === undefined ? [] : this.#spans.splice(0)
    if (this.#isDirty) {
      this.#isDirty = false
      await files
        .writeText(stateFile, renderState(), { mode: 0o644 })
        .catch((error: unknown) => this.#host.onProblem(`the state could not be written: ${messageOf(error)}`))
    }
    if (this.#outbox !== undefined && spans.length > 0) await this.#keep(this.#outbox, spans)
  }

  async #keep(outbox: Outbox, spans: readonly SpanRecord[]): Promise<void> {
    try {
      await outbox.append(spans)
      if (this.#isFailing) this.#host.onProblem('the trace is written again')
      this.#isFailing = false
    } catch (error) {
      // The outbox keeps them; a full disk is told once, not for every span.
      if (!this.#isFailing) this.#host.onProblem(`the trace could not be written: ${messageOf(error)}`)
      this.#isFailing = true
      setTimeout(() => this.#enqueueRetry(outbox), RETRY_MS).unref()
    }
  }

  #enqueueRetry(outbox: Outbox): void {
    this.#writing = this.#writing.then(() => this.#keep(outbox, []))
  }
}
