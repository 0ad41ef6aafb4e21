import { MachineError, messageOf } from '../errors.ts'
import { type Bus, type BusMessage, BusReplyError, connectSystemBus } from './bus.ts'
import type { BootTimes, JobResult, ListedUnit, Manager, ManagerEvent, UnitSnapshot } from './ports.ts'
import { escapeUnitPath, type Properties, readSnapshot, unitNameOfPath } from './unit-properties.ts'

const SYSTEMD = 'org.freedesktop.systemd1'
const ROOT = '/org/freedesktop/systemd1'
const MANAGER = `${SYSTEMD}.Manager`
const UNIT = `${SYSTEMD}.Unit`
const PROPERTIES = 'org.freedesktop.DBus.Properties'
const RELOAD_TIMEOUT_MS = 120_000
const RECONNECT_MS = [25, 100, 400, 1_000, 2_000] as const

type Listener = (event: ManagerEvent) => void
interface Waiter {
  readonly resolve: (result: JobResult) => void
  readonly reject: (error: Error) => void
}

/** systemd's manager on the system bus, with low-level messages only: no introspection, no proxies. */
class SystemdManager implements Manager {
  #bus: Bus
  #closed = false
  readonly #listeners = new Set<Listener>()
  readonly #jobs = new Map<number, Waiter>()
  readonly #endedJobs = new Map<number, JobResult>()
  readonly #interfaces = new Map<string, Properties>()
  readonly #referenced = new Set<string>()
  #awaitingReload: ((atUs: number) => void) | undefined

  constructor(bus: Bus) {
    this.#bus = bus
    this.#listen(bus)
  }

  async subscribe(): Promise<void> {
    const rule = `type='signal',sender='${SYSTEMD}',path_namespace='${ROOT}'`
    const driver = {
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
    }
    await this.#bus.call({ ...driver, member: 'AddMatch', signature: 's', body: [rule] })
    await this.#manager('Subscribe').catch((error: unknown) => {
      if (!(error instanceof BusReplyError && error.errorName.endsWith('AlreadySubscribed'))) throw error
    })
  }

  async version(): Promise<string> {
    return String(await this.#property('Version'))
  }

  async bootTimes(): Promise<BootTimes> {
    const read = async (name: string): Promise<number> => Number(await this.#property(`${name}Timestamp`))
    // Firmware and loader timestamps are monotonic distances before the kernel's start, see systemd-analyze(1).
    const distance = async (name: string): Promise<number> => Number(await this.#property(`${name}TimestampMonotonic`))
    const [kernelUs, userspaceUs, finishUs] = await Promise.all([read('Kernel'), read('Userspace'), read('Finish')])
    const [firmware, loader] = await Promise.all([distance('Firmware'), distance('Loader')])
    const before = (us: number): number => (us > 0 && kernelUs > 0 ? kernelUs - us : 0)
    return { firmwareUs: before(firmware), loaderUs: before(loader), kernelUs, userspaceUs, finishUs }
  }

  async snapshots(names: readonly string[]): Promise<readonly UnitSnapshot[]> {
    return Promise.all(names.map((name) => this.#describe(name)))
  }

  async list(patterns: readonly string[]): Promise<readonly ListedUnit[]> {
    return listedUnits(await this.#manager('ListUnitsByPatterns', 'asas', [[], [...patterns]]))
  }

  async load(names: readonly string[]): Promise<readonly ListedUnit[]> {
    return listedUnits(await this.#manager('ListUnitsByNames', 'as', [[...names]]))
  }

  async reload(): Promise<{ readonly startUs: number; readonly endUs: number }> {
    const startUs = Date.now() * 1000
    let timer: NodeJS.Timeout | undefined
    const finished = new Promise<number>((resolve, reject) => {
      timer = setTimeout(
        () => reject(new MachineError('CM1101', 'daemon-reload took longer than 120 s')),
        RELOAD_TIMEOUT_MS,
      )
      this.#awaitingReload = (atUs) => {
        clearTimeout(timer)
        resolve(atUs)
      }
    })
    // The reply comes only when the reload is done, which may take longer than any other call.
    await this.#manager('Reload', '', [], RELOAD_TIMEOUT_MS).catch((error: unknown) => {
      clearTimeout(timer)
      throw new MachineError('CM1101', `daemon-reload failed: ${messageOf(error)}`, { cause: error })
    })
    return { startUs, endUs: await finished }
  }

  async start(name: string): Promise<void> {
    await this.#manager('StartUnit', 'ss', [name, 'replace'])
  }

  async startAndWait(name: string): Promise<JobResult> {
    return this.#jobResult('StartUnit', name)
  }

  async stopAndWait(name: string): Promise<JobResult> {
    return this.#jobResult('StopUnit', name)
  }

  async restartAndWait(name: string): Promise<JobResult> {
    return this.#jobResult('RestartUnit', name)
  }

  async resetFailed(name: string): Promise<void> {
    await this.#manager('ResetFailedUnit', 's', [name]).catch((error: unknown) => {
      if (!(error instanceof BusReplyError && error.errorName.endsWith('NoSuchUnit'))) throw error
    })
  }

  follow(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#bus.close()
  }

  async #manager(
    member: string,
    signature = '',
    body: readonly unknown[] = [],
    timeoutMs?: number,
  ): Promise<readonly unknown[]> {
    const limit = timeoutMs === undefined ? {} : { timeoutMs }
    return this.#bus.call({ destination: SYSTEMD, path: ROOT, interface: MANAGER, member, signature, body, ...limit })
  }

  async #property(name: string): Promise<unknown> {
    const call = { destination: SYSTEMD, path: ROOT, interface: PROPERTIES, member: 'Get', signature: 'ss' }
    return (await this.#bus.call({ ...call, body: [MANAGER, name] }))[0]
  }

  async #describe(name: string): Promise<UnitSnapshot> {
    // Without a reference a finished oneshot is collected, and reading it loads it anew with all times zero.
    if (!this.#referenced.has(name)) {
      this.#referenced.add(name)
      await this.#manager('RefUnit', 's', [name]).catch((error: unknown) => {
        if (!(error instanceof BusReplyError)) throw error
      })
    }
    const path = escapeUnitPath(name)
    const all = { destination: SYSTEMD, path, interface: PROPERTIES, member: 'GetAll', signature: 's', body: [''] }
    const [properties] = await this.#bus.call(all)
    this.#interfaces.set(path, properties as Properties)
    return readSnapshot(name, properties as Properties)
  }

  async #jobResult(member: string, name: string): Promise<JobResult> {
    const [job] = await this.#manager(member, 'ss', [name, 'replace'])
    const id = Number(String(job).split('/').at(-1))
    const ended = this.#endedJobs.get(id)
    if (ended !== undefined) return ended
    return new Promise<JobResult>((resolve, reject) => this.#jobs.set(id, { resolve, reject }))
  }

  #listen(bus: Bus): void {
    bus.onSignal((message) => this.#onSignal(message))
    bus.onDown((reason) => {
      const lost = new MachineError('CM0501', `the system bus went away: ${reason}`)
      for (const waiter of this.#jobs.values()) waiter.reject(lost)
      this.#jobs.clear()
      if (this.#closed) return
      this.#emit({ kind: 'down', reason })
      void this.#reconnect()
    })
  }

  async #reconnect(): Promise<void> {
    for (let attempt = 0; !this.#closed; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS[Math.min(attempt, RECONNECT_MS.length - 1)]))
      let bus: Bus | undefined
      try {
        bus = await connectSystemBus()
        if (this.#closed) return bus.close()
        this.#bus = bus
        this.#referenced.clear()
        await this.subscribe()
        this.#listen(bus)
        this.#emit({ kind: 'up' })
        return
      } catch (error) {
        bus?.close()
        this.#emit({ kind: 'down', reason: messageOf(error) })
      }
    }
  }

  #onSignal(message: BusMessage): void {
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
    const waiter = this.#jobs.get(jobId)
    this.#jobs.delete(jobId)
    waiter?.resolve(result)
    this.#endedJobs.set(jobId, result)
    const oldest = this.#endedJobs.keys().next().value
    if (this.#endedJobs.size > 512 && oldest !== undefined) this.#endedJobs.delete(oldest)
    this.#emit({ kind: 'job-removed', unit, jobId, result, atUs })
  }

  #emit(event: ManagerEvent): void {
    for (const listener of this.#listeners) listener(event)
  }
}

function listedUnits([units]: readonly unknown[]): readonly ListedUnit[] {
  const row = (unit: readonly unknown[]): ListedUnit => {
    return { name: String(unit[0]), loadState: String(unit[2]), activeState: String(unit[3]) }
  }
  return (units as readonly (readonly unknown[])[]).map(row)
}

/** Connects to systemd and subscribes to its signals. Throws CM0501 when the bus does not answer. */
export async function connectManager(): Promise<Manager> {
  const manager = new SystemdManager(await connectSystemBus())
  await manager.subscribe()
  return manager
}
