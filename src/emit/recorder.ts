import { messageOf, toMachineError } from '../errors.ts'
import type { Clock, Files, Journal, Notify } from '../host/ports.ts'
import { addEvidence, beginStep, endStep, type Folded, failAttempt, failStep } from '../observe/fold-step.ts'
import type { Happening, Machine } from '../observe/machine.ts'
import type { MachineState } from '../observe/state.ts'
import type { Attributes } from '../report.ts'
import { STEPS, stepOf } from '../steps.ts'
import { journalLine, warningLine } from './journal-lines.ts'
import type { Outbox } from './outbox.ts'
import { incidentSpan, startupSpan, stepSpans, type TraceContext } from './spans.ts'

const STATE_INTERVAL_MS = 15
const CONTROLLER_UNIT = 'comfy-machine.service'

/** Where the recorder writes. */
export interface RecorderHost {
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
  #outbox: Outbox | undefined
  #resource: Attributes = {}
  #writing: Promise<void> = Promise.resolve()
  #dirty = false
  #writtenMs = Number.NEGATIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  readonly #host: RecorderHost
  readonly #reported = new WeakSet<Error>()
  // Not in the trace yet, because its directory is known only after step 4; not in the journal yet, because the machine has no name.
  readonly #held: Happening[] = []
  readonly #unsaid: Happening[] = []
  #isNamed: boolean
  readonly #listeners = new Set<() => void>()
  #onSpans: () => void = () => undefined

  constructor(host: RecorderHost, machine: Machine) {
    this.#host = host
    this.#machine = machine
    this.#isNamed = machine.state.workersConfig !== ''
    this.#changed()
  }

  get machine(): Machine {
    return this.#machine
  }

  /** Begins to keep spans in an outbox; what happened before is added to it. */
  keepSpans(outbox: Outbox, resource: Attributes, onSpans: () => void): void {
    this.#outbox = outbox
    this.#resource = resource
    this.#onSpans = onSpans
    for (const happening of this.#held.splice(0)) this.#keep(happening)
  }

  /** Tells whether spans are kept. */
  isTracing(): boolean {
    return this.#outbox !== undefined
  }

  /** Carries out one step of the controller: started, then exactly one of done and failed. */
  async step<T>(number: number, work: () => Promise<T>, describe: (value: T) => StepResult = () => ({})): Promise<T> {
    const startUs = this.#host.clock.nowUs()
    this.replace(beginStep(this.#machine, number, startUs))
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
    for (const happening of happenings) {
      this.#unsaid.push(happening)
      if (this.#outbox === undefined) this.#held.push(happening)
      else this.#keep(happening)
    }
    if (this.#isNamed || happenings.some(({ kind }) => kind !== 'step-ended')) this.#say()
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

  /** Ends the trace of the startup with its root span. */
  endTrace(endUs: number): void {
    this.#append([startupSpan(this.#machine, endUs, this.#context())])
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
    if (this.#timer !== undefined) this.#enqueueState()
    await this.#writing
  }

  #say(): void {
    for (const happening of this.#unsaid.splice(0)) {
      const line = journalLine(this.#machine, happening)
      if (line !== undefined) this.#host.journal.write(line)
    }
  }

  #context(): TraceContext {
    return { traceId: this.#machine.state.traceId, resource: this.#resource }
  }

  #keep(happening: Happening): void {
    if (happening.kind === 'step-ended') this.#append(stepSpans(this.#machine, happening, this.#context()))
    if (happening.kind === 'attempt-failed' && happening.afterReady)
      this.#append([incidentSpan(this.#machine, happening, this.#context())])
  }

  #append(spans: Parameters<Outbox['append']>[0]): void {
    const outbox = this.#outbox
    if (outbox === undefined) return
    this.#enqueue(() => outbox.append(spans), 'the trace could not be written')
    this.#onSpans()
  }

  // The first change is written at once; those that follow within STATE_INTERVAL_MS are written together.
  #changed(): void {
    for (const listener of this.#listeners) listener()
    if (this.#dirty) return
    this.#dirty = true
    const waitMs = this.#writtenMs + STATE_INTERVAL_MS - this.#nowMs()
    if (waitMs <= 0) this.#enqueueState()
    else this.#timer = setTimeout(() => this.#enqueueState(), waitMs)
  }

  #enqueueState(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#enqueue(() => this.#writeState(), 'the state could not be written')
  }

  #nowMs(): number {
    return this.#host.clock.nowUs() / 1000
  }

  async #writeState(): Promise<void> {
    this.#dirty = false
    this.#writtenMs = this.#nowMs()
    const state = { ...this.#machine.state, updatedUs: this.#host.clock.nowUs() }
    this.#host.notify.status(statusText(this.#machine))
    await this.#host.files.writeText(this.#host.stateFile, `${JSON.stringify(state)}\n`, { mode: 0o644 })
  }

  #enqueue(write: () => Promise<void>, otherwise: string): void {
    this.#writing = this.#writing.then(write).catch((error: unknown) => {
      this.#host.journal.write(warningLine(this.#machine, `${otherwise}: ${messageOf(error)}`))
    })
  }
}

/** One line for `systemctl status comfy-machine`. */
export function statusText({ state }: Machine): string {
  const [failing] = state.failing
  if (failing !== undefined)
    return `${state.phase}: step ${failing.step} ${failing.stepName}: ${failing.code} ${failing.message.replace(/\.$/, '')}. ${failing.hint}`
  if (state.phase !== 'starting') return `${state.phase}: ${state.workers.length} workers`
  const running = state.steps.filter((step) => step.state === 'running').at(-1)
  if (running === undefined) return `step ${state.step}/${STEPS.length}`
  return `step ${running.number}/${STEPS.length} ${stepOf(running.number).title}${running.detail === undefined ? '' : `: ${running.detail}`}`
}
