import { MachineError, messageOf } from '../errors.ts'
import { type Bus, BusLost, type BusMessage, BusReplyError, connectSystemBus } from './bus.ts'
import type { BootTimes, JobResult, ListedUnit, Manager, ManagerEvent, UnitSnapshot } from './ports.ts'
import { isUnanswered } from './repeat.ts'
import { type ConnectionListener, MANAGER, SystemdConnection } from './systemd-connection.ts'
import { UnitJobs } from './unit-jobs.ts'
import { escapeUnitPath, listedUnits, type Properties, readSnapshot, unitNameOfPath } from './unit-properties.ts'

const UNIT = 'org.freedesktop.systemd1.Unit'
const RELOAD_TIMEOUT_MS = 120_000

type Listener = (event: ManagerEvent) => void

/** systemd's manager on the system bus, with low-level messages only: no introspection, no proxies. */
class SystemdManager implements Manager, ConnectionListener {
  readonly #systemd: SystemdConnection
  readonly #listeners = new Set<Listener>()
  readonly #jobs = new UnitJobs()
  readonly #interfaces = new Map<string, Properties>()
  #referenced = new Set<string>()
  #awaitingReload: ((atUs: number) => void) | undefined

  constructor(bus: Bus) {
    this.#systemd = new SystemdConnection(bus, this)
  }

  async subscribe(bus: Bus): Promise<void> {
    await this.#systemd.use(bus)
  }

  async version(): Promise<string> {
    return String(await this.#systemd.property('Version'))
  }

  async bootTimes(): Promise<BootTimes> {
    const read = async (name: string): Promise<number> => Number(await this.#systemd.property(`${name}Timestamp`))
    // Firmware and loader timestamps are monotonic distances before the kernel's start, see systemd-analyze(1).
    const distance = async (name: string): Promise<number> =>
      Number(await this.#systemd.property(`${name}TimestampMonotonic`))
    const [kernelUs, userspaceUs, finishUs] = await Promise.all([read('Kernel'), read('Userspace'), read('Finish')])
    const [firmware, loader] = await Promise.all([distance('Firmware'), distance('Loader')])
    const before = (us: number): number => (us > 0 && kernelUs > 0 ? kernelUs - us : 0)
    return { firmwareUs: before(firmware), loaderUs: before(loader), kernelUs, userspaceUs, finishUs }
  }

  async snapshots(names: readonly string[]): Promise<readonly UnitSnapshot[]> {
    return Promise.all(names.map((name) => this.#systemd.repeat(() => this.#describe(name))))
  }

  async list(patterns: readonly string[]): Promise<readonly ListedUnit[]> {
    return listedUnits(
      await this.#systemd.repeat(() => this.#systemd.call('ListUnitsByPatterns', 'asas', [[], [...patterns]])),
    )
  }

  async load(names: readonly string[]): Promise<readonly ListedUnit[]> {
    return listedUnits(await this.#systemd.repeat(() => this.#systemd.call('ListUnitsByNames', 'as', [[...names]])))
  }

  async reload(): Promise<{ readonly startUs: number; readonly endUs: number }> {
    const startUs = Date.now() * 1000
    // Another reload does no harm, one that was lost does.
    const endUs = await this.#systemd
      .repeat(() => this.#reloadOnce())
      .catch((error: unknown) => {
        throw new MachineError('CM1101', `daemon-reload failed: ${messageOf(error)}`, { cause: error })
      })
    return { startUs, endUs }
  }

  async start(name: string): Promise<void> {
    await this.#carryOut(
      name,
      async () => (await this.#queueJob('StartUnit', name)) > 0,
      ({ jobId, activeState }) => (jobId !== 0 || activeState === 'active' ? true : undefined),
    )
  }

  async startAndWait(name: string): Promise<JobResult> {
    return this.#untilEnded('StartUnit', name, ({ activeState }) => {
      if (activeState === 'active') return 'done'
      return activeState === 'failed' ? 'failed' : undefined
    })
  }

  async stopAndWait(name: string): Promise<JobResult> {
    return this.#untilEnded('StopUnit', name, ({ activeState }) =>
      activeState === 'inactive' || activeState === 'failed' ? 'done' : undefined,
    )
  }

  async restartAndWait(name: string): Promise<JobResult> {
    return this.#jobs.result(await this.#queueJob('RestartUnit', name))
  }

  async resetFailed(name: string): Promise<void> {
    await this.#systemd
      .repeat(() => this.#systemd.call('ResetFailedUnit', 's', [name]))
      .catch((error: unknown) => {
        if (!(error instanceof BusReplyError && error.errorName.endsWith('NoSuchUnit'))) throw error
      })
  }

  follow(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.#systemd.close()
    this.#jobs.lose(new BusLost('closed'))
  }

  /** A call that changes something is made again only after a look at the unit: it may have been carried out unanswered. */
  async #carryOut<T>(
    name: string,
    call: () => Promise<T>,
    judge: (unit: UnitSnapshot) => Promise<T> | T | undefined,
  ): Promise<T> {
    return this.#systemd.repeat(async (tries) => {
      const known = tries === 1 ? undefined : await judge(await this.#describe(name))
      return known ?? (await call())
    })
  }

  async #untilEnded(
    member: string,
    name: string,
    judge: (unit: UnitSnapshot) => JobResult | undefined,
  ): Promise<JobResult> {
    return this.#carryOut(
      name,
      async () => this.#jobs.result(await this.#queueJob(member, name)),
      (unit) => (unit.jobId === 0 ? judge(unit) : this.#jobs.result(unit.jobId)),
    )
  }

  async #queueJob(member: string, name: string): Promise<number> {
    const [job] = await this.#systemd.call(member, 'ss', [name, 'replace'])
    return Number(String(job).split('/').at(-1))
  }

  async #reloadOnce(): Promise<number> {
    const finished = new Promise<number>((resolve) => {
      this.#awaitingReload = resolve
    })
    // The reply comes only when the reload is done, which may take longer than any other call.
    await this.#systemd.call('Reload', '', [], RELOAD_TIMEOUT_MS)
    return finished
  }

  async #describe(name: string): Promise<UnitSnapshot> {
    // Without a reference a finished oneshot is collected, and reading it loads it anew with all times zero.
    const referenced = this.#referenced
    if (!referenced.has(name)) {
      const isOwn = await this.#systemd.call('RefUnit', 's', [name]).then(() => true, isRefused)
      if (isOwn) referenced.add(name)
    }
    const path = escapeUnitPath(name)
    const properties = await this.#systemd.properties(path)
    this.#interfaces.set(path, properties)
    return readSnapshot(name, properties)
  }

  onDown(reason: string): void {
    this.#jobs.lose(new BusLost(reason))
    // A reload that was answered is over, also when the signal of its end is lost.
    this.#awaitingReload?.(Date.now() * 1000)
    this.#referenced = new Set()
    this.#emit({ kind: 'down', reason })
  }

  onUp(): void {
    this.#emit({ kind: 'up' })
  }

  onSignal(message: BusMessage): void {
    const atUs = Date.now() * 1000
    if (message.member === 'PropertiesChanged') this.#onProperties(message)
    else if (message.interface !== MANAGER) return
    else if (message.member === 'JobNew')
      this.#emit({ kind: 'job-new', jobId: Number(message.body[0]), unit: String(message.body[2]), atUs })
    else if (message.member === 'JobRemoved') this.#onJobRemoved(message, atUs)
    else if (message.member === 'Reloading') {
      const active = message.body[0] === true
      if (!active) this.#awaitingReload?.(atUs)
      this.#emit({ kind: 'reloading', active, atUs })
    }
  }

  #onProperties(message: BusMessage): void {
    const name = unitNameOfPath(message.path)
    if (name === undefined) return
    // systemd sends the type's properties (Service, Socket) first and the Unit's last: one change is whole then.
    const known = { ...this.#interfaces.get(message.path), ...(message.body[1] as Properties) }
    this.#interfaces.set(message.path, known)
    if (message.body[0] === UNIT) this.#emit({ kind: 'unit', unit: readSnapshot(name, known) })
  }

  #onJobRemoved(message: BusMessage, atUs: number): void {
    const [jobId, unit, result] = [Number(message.body[0]), String(message.body[2]), String(message.body[3])]
    this.#jobs.end(jobId, result)
    this.#emit({ kind: 'job-removed', unit, jobId, result, atUs })
  }

  #emit(event: ManagerEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}

// A unit that cannot be referenced is described all the same; a call that nobody answered is made again.
function isRefused(error: unknown): false {
  if (error instanceof BusReplyError && !isUnanswered(error)) return false
  throw error
}

/** Connects to systemd and subscribes to its signals. Throws CM0501 when the bus does not answer. */
export async function connectManager(): Promise<Manager> {
  const bus = await connectSystemBus()
  const manager = new SystemdManager(bus)
  await manager.subscribe(bus)
  return manager
}
