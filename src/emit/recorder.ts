import { toMachineError } from '../errors.ts'
import type { Clock, Files, Journal, Notify, SpanRecord } from '../host/ports.ts'
import { addEvidence, beginStep, endStep, type Folded, failAttempt, failStep } from '../observe/fold-step.ts'
import { type Happening, isDone, type Machine } from '../observe/machine.ts'
import type { MachineState } from '../observe/state.ts'
import type { Attributes } from '../report.ts'
import { journalLine, warningLine } from './journal-lines.ts'
import type { Outbox } from './outbox.ts'
import { RecordWriter } from './record-writer.ts'
import { SpanKeeper, type SpanKeeperHost } from './span-keeper.ts'
import { statusText } from './status-text.ts'

const CONTROLLER_UNIT = 'comfy-machine.service'

/** Where the recorder writes. */
export interface RecorderHost extends SpanKeeperHost {
  readonly clock: Clock
  readonly files: Files
  readonly journal: Journal
  readonly notify: Notify
  readonly stateFile: string
}

/** What a step of the controller says about its work. */
export interface StepResult {
  readonly attributes?: Attributes
  readonly warnings?: readonly string[]
  readonly startUs?: number
  readonly endUs?: number
}

/** Keeps the machine and tells everything that happens to it: journal, outbox, state file, STATUS=. */
export class Recorder {
  #machine: Machine
  readonly #host: RecorderHost
  readonly #writer: RecordWriter
  readonly #reported = new WeakSet<Error>()
  // Told in the journal and the trace only when the configuration has named the machine.
  readonly #unsaid: Happening[] = []
  #isNamed: boolean
  readonly #spans: SpanKeeper
  readonly #listeners = new Set<() => void>()

  constructor(host: RecorderHost, machine: Machine) {
    this.#host = host
    this.#machine = machine
    this.#isNamed = machine.state.workersConfig !== ''
    this.#writer = new RecordWriter({
      ...host,
      renderState: () => this.#renderState(),
      onProblem: (problem) => host.journal.write(warningLine(this.#machine, problem)),
    })
    this.#spans = new SpanKeeper(host, this.#writer, (apply) => this.replace(apply(this.#machine)))
    this.#changed()
  }

  get machine(): Machine {
    return this.#machine
  }

  /** Takes the ids of the spans that are on record: none of them is recorded again. */
  know(spanIds: Iterable<string>): void {
    this.#spans.know(spanIds)
  }

  /** Begins to keep spans in an outbox; what happened before is added to it. */
  keepSpans(outbox: Outbox): void {
    this.#writer.keepSpans(outbox)
  }

  /** Carries out one step of the controller: started, then exactly one of done and failed. One that was done before a crash stays as it is. */
  async step<T>(number: number, work: () => Promise<T>, describe: (value: T) => StepResult = () => ({})): Promise<T> {
    const startUs = this.#host.clock.nowUs()
    if (!isDone(this.#machine, number)) this.replace(beginStep(this.#machine, number, startUs))
    try {
      const value = await work()
      const { attributes = {}, warnings = [], ...times } = describe(value)
      for (const warning of warnings) this.warn(warning)
      const end = { startUs, endUs: this.#host.clock.nowUs(), ...times }
      this.fold((machine) => endStep(machine, number, { ...end, state: 'done', attributes }))
      return value
    } catch (thrown) {
      this.fail(number, startUs, thrown)
      throw thrown
    }
  }

  /** Records the failure of a step of the controller; a failure that an inner step has told is not told again. */
  fail(number: number, startUs: number, thrown: unknown): void {
    const atUs = this.#host.clock.nowUs()
    const { code, type, message, hint } = toMachineError(thrown)
    const told = thrown instanceof Error && this.#reported.has(thrown)
    if (thrown instanceof Error) this.#reported.add(thrown)
    const failure = { code, type, message, hint }
    if (!told) this.fold((machine) => failAttempt(machine, number, { unit: CONTROLLER_UNIT, startUs, atUs, failure }))
    this.fold((machine) => failStep(machine, number, startUs, atUs))
  }

  /** Applies a fold and tells what came of it. */
  fold(apply: (machine: Machine) => Folded): void {
    const { machine, happenings } = apply(this.#machine)
    this.replace(machine)
    this.#unsaid.push(...happenings)
    if (this.#isNamed || happenings.some(({ kind }) => kind !== 'step-ended')) this.#say()
  }

  /** Tells the end of a step again that is on record, but whose span may not be. */
  tellAgain(happening: Happening): void {
    // What ended before the machine had its name was told to nobody.
    if (this.#isNamed) this.#spans.keep(this.#machine, happening)
    else this.#unsaid.push(happening)
  }

  /** Takes the names that the configuration gives the machine. What was done before is told with them. */
  name(names: Pick<MachineState, 'machineId' | 'gpuMode' | 'workersConfig'>): void {
    const { machineId, gpuMode, workersConfig } = names
    this.replace({ ...this.#machine, state: { ...this.#machine.state, machineId, gpuMode, workersConfig } })
    this.#isNamed = true
    this.#say()
  }

  /** Takes a changed machine of which nothing is to be told. */
  replace(machine: Machine): void {
    if (machine === this.#machine) return
    this.#machine = machine
    this.#changed()
  }

  /** Adds evidence to the state. */
  prove(evidence: Attributes): void {
    this.replace(addEvidence(this.#machine, evidence))
  }

  /** A warning for the journal and for everybody who looks at the state. */
  warn(message: string): void {
    this.#host.journal.write(warningLine(this.#machine, message))
    const state = { ...this.#machine.state, warnings: [...this.#machine.state.warnings, message] }
    this.replace({ ...this.#machine, state })
  }

  /** Ends the trace of the startup with its root span, unless it has one. */
  endTrace(endUs: number): void {
    this.#say()
    this.#spans.keepRoot(this.#machine, endUs)
  }

  /** Records a span that belongs to another startup. */
  record(span: SpanRecord): void {
    this.#spans.record([{ ...span, resource: this.#host.resource }])
  }

  /** Takes facts of the startup that are no step. */
  note(facts: Partial<Pick<MachineState, 'follows' | 'lostSpans'>>): void {
    this.replace({ ...this.#machine, state: { ...this.#machine.state, ...facts } })
  }

  /** Resolves as soon as the machine fits, at once when it fits already; rejects when `signal` aborts before that. */
  async until(fits: (machine: Machine) => boolean, signal: AbortSignal): Promise<void> {
    if (fits(this.#machine)) return
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        if (!fits(this.#machine)) return
        this.#listeners.delete(look)
        resolve()
      }
      const stop = (): void => {
        this.#listeners.delete(look)
        reject(new Error('stopped'))
      }
      this.#listeners.add(look)
      // A signal that has aborted before does not tell it again.
      if (signal.aborted) stop()
      else signal.addEventListener('abort', stop, { once: true })
    })
  }

  /** Calls `listener` after each change; the result stops. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Resolves when everything told so far is on disk. */
  async flush(): Promise<void> {
    await this.#writer.flush()
  }

  #say(): void {
    for (const happening of this.#unsaid.splice(0)) {
      const line = journalLine(this.#machine, happening)
      if (line !== undefined) this.#host.journal.write(line)
      this.#spans.keep(this.#machine, happening)
    }
  }

  #changed(): void {
    for (const listener of this.#listeners) listener()
    this.#writer.changed()
  }

  #renderState(): string {
    this.#host.notify.status(statusText(this.#machine))
    return `${JSON.stringify({ ...this.#machine.state, updatedUs: this.#host.clock.nowUs() })}\n`
  }
}
