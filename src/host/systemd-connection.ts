import { messageOf } from '../errors.ts'
import { type Bus, type BusMessage, BusReplyError, connectSystemBus } from './bus.ts'
import { repeatUntilAnswered } from './repeat.ts'
import type { Properties } from './unit-properties.ts'

const SYSTEMD = 'org.freedesktop.systemd1'
const ROOT = '/org/freedesktop/systemd1'
const PROPERTIES = 'org.freedesktop.DBus.Properties'
const DRIVER = {
  destination: 'org.freedesktop.DBus',
  path: '/org/freedesktop/DBus',
  interface: 'org.freedesktop.DBus',
} as const
const RECONNECT_MS = [25, 100, 400, 1_000, 2_000] as const

/** The interface of the manager object, org.freedesktop.systemd1(5). */
export const MANAGER = `${SYSTEMD}.Manager`

/** Who is told what comes over a connection. */
export interface ConnectionListener {
  onSignal(message: BusMessage): void
  onDown(reason: string): void
  /** The connection is back and its signals come; what was told meanwhile is lost. */
  onUp(): void
}

/** systemd on the system bus: subscribed to its signals, and connected anew whenever the bus went away. */
export class SystemdConnection {
  #bus: Bus
  #closed = false
  readonly #listener: ConnectionListener

  constructor(bus: Bus, listener: ConnectionListener) {
    this.#bus = bus
    this.#listener = listener
  }

  /** Makes a connection to the bus the one in use, as soon as its signals come. */
  async use(bus: Bus): Promise<void> {
    bus.onSignal((message) => this.#listener.onSignal(message))
    const rule = `type='signal',sender='${SYSTEMD}',path_namespace='${ROOT}'`
    await bus.call({ ...DRIVER, member: 'AddMatch', signature: 's', body: [rule] })
    const subscribe = { destination: SYSTEMD, path: ROOT, interface: MANAGER, member: 'Subscribe' }
    await repeatUntilAnswered(() => bus.call(subscribe)).catch((error: unknown) => {
      if (!(error instanceof BusReplyError && error.errorName.endsWith('AlreadySubscribed'))) throw error
    })
    this.#bus = bus
    bus.onDown((reason) => {
      if (this.#closed) return
      this.#listener.onDown(reason)
      void this.#reconnect()
    })
  }

  /** Calls the manager once. */
  async call(
    member: string,
    signature = '',
    body: readonly unknown[] = [],
    timeoutMs?: number,
  ): Promise<readonly unknown[]> {
    const limit = timeoutMs === undefined ? {} : { timeoutMs }
    return this.#bus.call({ destination: SYSTEMD, path: ROOT, interface: MANAGER, member, signature, body, ...limit })
  }

  /** Reads a property of the manager. */
  async property(name: string): Promise<unknown> {
    const call = { destination: SYSTEMD, path: ROOT, interface: PROPERTIES, member: 'Get', signature: 'ss' }
    return (await this.repeat(() => this.#bus.call({ ...call, body: [MANAGER, name] })))[0]
  }

  /** Reads every property of an object, once. */
  async properties(path: string): Promise<Properties> {
    const all = { destination: SYSTEMD, path, interface: PROPERTIES, member: 'GetAll', signature: 's', body: [''] }
    return (await this.#bus.call(all))[0] as Properties
  }

  /** Makes calls that may be made twice until they are answered. */
  async repeat<T>(call: (tries: number) => Promise<T>): Promise<T> {
    return repeatUntilAnswered(call, () => this.#closed)
  }

  close(): void {
    this.#closed = true
    this.#bus.close()
  }

  async #reconnect(): Promise<void> {
    for (let attempt = 0; !this.#closed; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS[Math.min(attempt, RECONNECT_MS.length - 1)]))
      let bus: Bus | undefined
      try {
        bus = await connectSystemBus()
        if (this.#closed) return bus.close()
        await this.use(bus)
        this.#listener.onUp()
        return
      } catch (error) {
        bus?.close()
        this.#listener.onDown(messageOf(error))
      }
    }
  }
}
