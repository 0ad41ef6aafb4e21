import path from 'node:path'
import type { Files, Manager, ManagerEvent, UnitSnapshot } from '../host/ports.ts'
import { LATER_MODELS } from '../plan/plan.ts'
import { PROGRESS_FILE, type Progress, REPORT_FILE, type ReportLine } from '../report.ts'
import { foldJobless, foldJobNew, foldJobRemoved, foldQueued } from './fold-job.ts'
import { foldLaterModels } from './fold-later-models.ts'
import type { Folded } from './fold-step.ts'
import { foldUnit, hasStarted } from './fold-unit.ts'
import type { Machine } from './machine.ts'
import { parseReport } from './parse-report.ts'
import { parseProgress } from './progress.ts'
import { lastChangeMonoUs } from './unit-times.ts'

const TARGET = 'comfy-machine.target'
// A signal was never seen to be lost. One line per unit is cheap to read, 450 properties per unit are not.
const CHECK_MS = 30_000
const CHECKS_PER_RESYNC = 10
// systemd goes on telling of units for a moment after it has reloaded.
const RELOADED_MS = 100

/** What following needs of its surroundings. */
export interface FollowerHost {
  readonly manager: Manager
  readonly files: Files
  /** Directory that holds one report directory per unit. */
  readonly reports: string
  readonly fold: (apply: (machine: Machine) => Folded) => void
  readonly machine: () => Machine
  /** Microseconds since the epoch. */
  readonly nowUs: () => number
  /** Told when something could not be read; following goes on. */
  readonly onProblem: (problem: unknown) => void
}

/** Follows the given units: every change the manager tells, in order, becomes a fold. */
export class Follower {
  readonly #host: FollowerHost
  readonly #units: readonly string[]
  readonly #names: ReadonlySet<string>
  readonly #unreadable = new Set<string>()
  #queue: Promise<void> = Promise.resolve()
  #stopSignals: () => void = () => undefined
  #timer: NodeJS.Timeout | undefined
  #reloaded: NodeJS.Timeout | undefined
  #checks = 0

  constructor(host: FollowerHost, units: readonly string[]) {
    this.#host = host
    this.#units = units
    this.#names = new Set(units)
  }

  /** Begins to listen. Signals carry whole snapshots, so nothing is read again after one. */
  start(): void {
    this.#stopSignals = this.#host.manager.follow((event) => this.#enqueue(() => this.#onEvent(event)))
    this.#timer = setInterval(() => this.#enqueue(() => this.#check()), CHECK_MS)
    this.#timer.unref()
  }

  /** Reads the state of every unit now, after a restart of the controller. The start may not have been asked for yet. */
  async resync(): Promise<void> {
    this.#enqueue(() => this.#read(this.#units))
    await this.#queue
  }

  /** Resolves when every event that has come so far is folded. */
  async settled(): Promise<void> {
    await this.#queue
  }

  stop(): void {
    this.#stopSignals()
    clearInterval(this.#timer)
    clearTimeout(this.#reloaded)
  }

  #enqueue(work: () => Promise<void>): void {
    this.#queue = this.#queue.then(work).catch(this.#host.onProblem)
  }

  async #onEvent(event: ManagerEvent): Promise<void> {
    const { fold } = this.#host
    switch (event.kind) {
      case 'unit':
        if (this.#names.has(event.unit.name) && !this.#isOutdated(event.unit)) await this.#onUnit(event.unit)
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
        clearTimeout(this.#reloaded)
        if (!event.active) this.#reloaded = setTimeout(() => this.#enqueue(() => this.#resync()), RELOADED_MS)
        return
      case 'down':
        return
    }
  }

  // A change that was told before the unit was last read, and is folded after it.
  #isOutdated(unit: UnitSnapshot): boolean {
    const known = this.#host.machine().snapshots.get(unit.name)
    return known !== undefined && lastChangeMonoUs(unit) < lastChangeMonoUs(known)
  }

  async #onUnit(unit: UnitSnapshot): Promise<void> {
    const report = this.#needsReport(unit) ? await this.#readReport(unit.name).catch(this.#withoutReport) : []
    const progress = this.#hasSpoken(unit) ? await this.#readProgress(unit) : undefined
    const foldOwn = unit.name === LATER_MODELS ? foldLaterModels : foldUnit
    this.#host.fold((machine) => foldOwn(machine, unit, report, progress))
  }

  // A unit writes its progress before it changes its STATUS= text.
  #hasSpoken({ name, activeState, statusText }: UnitSnapshot): boolean {
    if (activeState !== 'activating' || statusText === '') return false
    return this.#host.machine().snapshots.get(name)?.statusText !== statusText
  }

  async #readProgress({ name, invocationId }: UnitSnapshot): Promise<Progress | undefined> {
    try {
      return parseProgress(await this.#host.files.readForeign(this.#fileOf(name, PROGRESS_FILE)), invocationId)
    } catch (problem) {
      // It would be said again at every change of the unit's text.
      if (!this.#unreadable.has(name)) this.#host.onProblem(problem)
      this.#unreadable.add(name)
      return undefined
    }
  }

  #needsReport(unit: UnitSnapshot): boolean {
    if (unit.activeState === 'failed' || unit.subState.includes('auto-restart')) return true
    if (unit.activeState !== 'active') return false
    const { outcomes, snapshots } = this.#host.machine()
    const known = snapshots.get(unit.name)
    // One that was started again by systemd stays wanted and active, and says anew what it is without.
    return outcomes.get(unit.name) !== 'active' || known?.activeState !== 'active'
  }

  // What systemd says of a unit counts also when the unit's own words cannot be read.
  readonly #withoutReport = (problem: unknown): readonly ReportLine[] => {
    this.#host.onProblem(problem)
    return []
  }

  async #readReport(unit: string): Promise<readonly ReportLine[]> {
    return parseReport((await this.#host.files.readForeign(this.#fileOf(unit, REPORT_FILE))) ?? '')
  }

  #fileOf(unit: string, name: string): string {
    return path.join(this.#host.reports, unit.replace(/\.service$/, ''), name)
  }

  async #resync(): Promise<void> {
    await this.#read(this.#units)
    await this.#judge()
  }

  async #read(names: readonly string[]): Promise<void> {
    for (const unit of await this.#host.manager.snapshots(names)) {
      this.#host.fold((machine) => foldQueued(machine, unit, this.#host.nowUs()))
      await this.#onUnit(unit)
    }
  }

  // Only after the start was asked for: a unit whose job is still to be queued has none either.
  async #judge(): Promise<void> {
    const waiting = this.#waiting()
    if (waiting.length === 0) return
    const [target] = await this.#host.manager.snapshots([TARGET])
    const isAsked = target !== undefined && (target.jobId !== 0 || hasStarted(this.#host.machine(), target))
    if (!isAsked) return
    await this.#read(waiting)
    // What was told meanwhile says more than what was read, and comes first.
    this.#enqueue(async () => {
      for (const name of waiting) {
        const unit = this.#host.machine().snapshots.get(name)
        if (unit !== undefined) this.#host.fold((machine) => foldJobless(machine, unit, this.#host.nowUs()))
      }
    })
  }

  #waiting(): readonly string[] {
    const { outcomes, snapshots } = this.#host.machine()
    return this.#units.filter((name) => outcomes.get(name) === 'pending' && snapshots.get(name)?.jobId === 0)
  }

  async #check(): Promise<void> {
    this.#checks += 1
    if (this.#checks % CHECKS_PER_RESYNC === 0) return this.#resync()
    const { snapshots } = this.#host.machine()
    const listed = new Map((await this.#host.manager.load(this.#units)).map((unit) => [unit.name, unit]))
    const changed = this.#units.filter((name) => {
      const [now, known] = [listed.get(name), snapshots.get(name)]
      return now?.activeState !== known?.activeState || now?.subState !== known?.subState || now?.jobId !== known?.jobId
    })
    if (changed.length > 0) await this.#read(changed)
    await this.#judge()
  }
}
