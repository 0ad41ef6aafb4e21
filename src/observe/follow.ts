import path from 'node:path'
import type { Files, Manager, ManagerEvent, UnitSnapshot } from '../host/ports.ts'
import { REPORT_FILE, type ReportLine } from '../report.ts'
import type { Folded } from './fold-step.ts'
import { foldJobNew, foldJobRemoved, foldMissedJob, foldUnit } from './fold-unit.ts'
import type { Machine } from './machine.ts'

const RESYNC_MS = 300_000

/** What following needs of its surroundings. */
export interface FollowerHost {
  readonly manager: Manager
  readonly files: Files
  /** Directory that holds one report directory per unit. */
  readonly reports: string
  readonly fold: (apply: (machine: Machine) => Folded) => void
  readonly machine: () => Machine
  /** Told when something could not be read; following goes on. */
  readonly onProblem: (problem: unknown) => void
}

/** Follows the given units: every change the manager tells, in order, becomes a fold. */
export class Follower {
  readonly #host: FollowerHost
  readonly #units: readonly string[]
  #queue: Promise<void> = Promise.resolve()
  #stopSignals: () => void = () => undefined
  #timer: NodeJS.Timeout | undefined

  constructor(host: FollowerHost, units: readonly string[]) {
    this.#host = host
    this.#units = units
  }

  /** Begins to listen. Signals carry whole snapshots, so nothing is read again after one. */
  start(): void {
    this.#stopSignals = this.#host.manager.follow((event) => this.#enqueue(() => this.#onEvent(event)))
    this.#timer = setInterval(() => this.#enqueue(() => this.#resync()), RESYNC_MS)
    this.#timer.unref()
  }

  /** Reads the state of every unit now; after a lost connection and after a restart of the controller. */
  async resync(): Promise<void> {
    this.#enqueue(() => this.#resync())
    await this.#queue
  }

  /** Resolves when every event that has come so far is folded. */
  async settled(): Promise<void> {
    await this.#queue
  }

  stop(): void {
    this.#stopSignals()
    clearInterval(this.#timer)
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue = this.#queue.then(work).catch(this.#host.onProblem)
  }

  async #onEvent(event: ManagerEvent): Promise<void> {
    const { fold } = this.#host
    switch (event.kind) {
      case 'unit':
        if (this.#units.includes(event.unit.name)) await this.#onUnit(event.unit)
        return
      case 'job-new':
        fold((machine) => foldJobNew(machine, event.unit, event.atUs))
        return
      case 'job-removed':
        fold((machine) => foldJobRemoved(machine, event.unit, event.result, event.atUs))
        return
      case 'up':
        return this.#resync()
      case 'reloading':
        return event.active ? undefined : this.#resync()
      case 'down':
        return
    }
  }

  async #onUnit(unit: UnitSnapshot): Promise<void> {
    const report = this.#needsReport(unit) ? await this.#readReport(unit.name).catch(this.#withoutReport) : []
    this.#host.fold((machine) => foldUnit(machine, unit, report))
  }

  #needsReport(unit: UnitSnapshot): boolean {
    if (unit.activeState === 'failed' || unit.subState.includes('auto-restart')) return true
    return unit.activeState === 'active' && this.#host.machine().outcomes.get(unit.name) !== 'active'
  }

  // What systemd says of a unit counts also when the unit's own words cannot be read.
  readonly #withoutReport = (problem: unknown): readonly ReportLine[] => {
    this.#host.onProblem(problem)
    return []
  }

  async #readReport(unit: string): Promise<readonly ReportLine[]> {
    const file = path.join(this.#host.reports, unit.replace(/\.service$/, ''), REPORT_FILE)
    return parseReport((await this.#host.files.readForeign(file)) ?? '')
  }

  async #resync(): Promise<void> {
    for (const snapshot of await this.#host.manager.snapshots(this.#units)) {
      this.#host.fold((machine) => foldMissedJob(machine, snapshot))
      await this.#onUnit(snapshot)
    }
  }
}

/** The whole lines of a report; a last line without its end is still being written and left out. */
export function parseReport(text: string): readonly ReportLine[] {
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ReportLine)
}
