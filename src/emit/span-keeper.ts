import type { SpanRecord } from '../host/ports.ts'
import type { Happening, Machine } from '../observe/machine.ts'
import type { Attributes } from '../report.ts'
import { LastLines, type ReadLines, withLines } from './last-lines.ts'
import { laterModelsSpans } from './later-models-spans.ts'
import type { RecordWriter } from './record-writer.ts'
import { incidentSpan, recoverySpan, startupSpan } from './root-spans.ts'
import { stepSpans, type TraceContext } from './spans.ts'

/** What the keeper of spans works with. */
export interface SpanKeeperHost {
  /** What every span says of its process and host. */
  readonly resource: Attributes
  readonly readLines: ReadLines
}

/** Makes the spans of what happens and hands them to the writer, none twice. */
export class SpanKeeper {
  readonly #host: SpanKeeperHost
  readonly #writer: RecordWriter
  readonly #change: (apply: (machine: Machine) => Machine) => void
  readonly #lines: LastLines
  // Ids of the spans that are recorded, here or by an earlier controller of this startup.
  readonly #known = new Set<string>()

  constructor(host: SpanKeeperHost, writer: RecordWriter, change: (apply: (machine: Machine) => Machine) => void) {
    this.#host = host
    this.#writer = writer
    this.#change = change
    this.#lines = new LastLines(host.readLines)
  }

  /** Takes the ids of spans that are on record. */
  know(spanIds: Iterable<string>): void {
    for (const spanId of spanIds) this.#known.add(spanId)
  }

  /** Records the spans of a happening; those of a failure when the last lines of its unit are known. */
  keep(machine: Machine, happening: Happening): void {
    const context = this.#contextOf(machine)
    if (happening.kind === 'recovered') this.record([recoverySpan(machine, happening, context)])
    if (happening.kind === 'later-models-ended') this.record(laterModelsSpans(machine, happening, context))
    if (happening.kind === 'step-ended') this.#keepStep(machine, happening, context)
    if (happening.kind === 'attempt-failed') this.#keepAttempt(machine, happening, context)
  }

  /** Records the root span of a startup. */
  keepRoot(machine: Machine, endUs: number): void {
    this.record([startupSpan(machine, endUs, this.#contextOf(machine))])
  }

  /** Records spans as they are. */
  record(spans: readonly SpanRecord[]): void {
    this.#writer.append(this.#unknown(spans))
  }

  #keepStep(machine: Machine, ended: Extract<Happening, { kind: 'step-ended' }>, context: TraceContext): void {
    if (!ended.attempts.some((attempt) => this.#lines.isAwaited(attempt))) {
      this.record(ownLast(stepSpans(machine, ended, context)))
      return
    }
    this.#recordLater(async () => {
      const attempts = await this.#lines.complete(ended.attempts)
      const all = await this.#lines.complete(machine.state.attempts)
      const known = { ...machine, state: { ...machine.state, attempts: all } }
      return ownLast(stepSpans(known, { ...ended, attempts }, context))
    })
  }

  #keepAttempt(machine: Machine, failed: Extract<Happening, { kind: 'attempt-failed' }>, context: TraceContext): void {
    this.#lines.ask(failed.failing, failed.startUs, (told) => this.#change((current) => withLines(current, told)))
    if (!failed.afterReady) return
    this.#recordLater(async () => {
      const [failing = failed.failing] = await this.#lines.complete([failed.failing])
      return [incidentSpan(machine, { ...failed, failing }, context)]
    })
  }

  #recordLater(make: () => Promise<readonly SpanRecord[]>): void {
    this.#writer.append(make().then((spans) => this.#unknown(spans)))
  }

  #unknown(spans: readonly SpanRecord[]): readonly SpanRecord[] {
    const fresh = spans.filter(({ spanId }) => !this.#known.has(spanId))
    this.know(fresh.map(({ spanId }) => spanId))
    return fresh
  }

  #contextOf({ state }: Machine): TraceContext {
    return { traceId: state.traceId, resource: this.#host.resource }
  }
}

/** The step's own span behind those that belong to it: who finds it on record knows that the others are there too. */
function ownLast([own, ...others]: readonly SpanRecord[]): readonly SpanRecord[] {
  return own === undefined ? [] : [...others, own]
}
