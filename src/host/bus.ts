import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import { Message, type MessageBus, MessageType, systemBus, Variant } from 'dbus-next'
import { MachineError, messageOf } from '../errors.ts'

/** A signal or reply as plain values: variants are unwrapped, 64-bit integers are bigint. */
export interface BusMessage {
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly body: readonly unknown[]
}

/** A method call on the bus. */
export interface BusCall {
  readonly destination: string
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly signature?: string
  readonly body?: readonly unknown[]
  /** Milliseconds until the call is given up; default 25,000. */
  readonly timeoutMs?: number
}

/** A D-Bus error reply; `errorName` is the name the peer gave. */
export class BusReplyError extends Error {
  readonly errorName: string

  constructor(errorName: string, message: string) {
    super(message)
    this.name = 'BusReplyError'
    this.errorName = errorName
  }
}

/** CM0501 because the connection ended: a call that was under way may have been carried out. */
export class BusLost extends MachineError {
  constructor(reason: string) {
    super('CM0501', `the system bus went away: ${reason}`)
  }
}

/** One connection to the system bus that notices its own end; dbus-next alone does not. */
export interface Bus {
  /** Rejects with BusReplyError for an error reply, with BusLost when the connection is gone and with CM0501 after 25 s. */
  call(call: BusCall): Promise<readonly unknown[]>
  onSignal(listener: (message: BusMessage) => void): void
  /** Called once when the connection ends. */
  onDown(listener: (reason: string) => void): void
  close(): void
}

// dbus-daemon refuses more than 128 pending replies per connection.
const MAX_IN_FLIGHT = 64
const CALL_TIMEOUT_MS = 25_000
const CONNECT_TIMEOUT_MS = 5_000

/** The value inside any nesting of variants; arrays and dictionaries are unwrapped too. */
function unwrap(value: unknown): unknown {
  if (value instanceof Variant) return unwrap(value.value)
  if (Array.isArray(value)) return value.map(unwrap)
  if (value !== null && typeof value === 'object' && !Buffer.isBuffer(value))
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unwrap(inner)]))
  return value
}

function streamOf(bus: MessageBus): Duplex | undefined {
  return (bus as unknown as { _connection: { stream?: Duplex } })._connection.stream
}

// At the end of the stream Node hands out fewer bytes than asked for, and the parser throws out of an event handler.
function guardShortReads(stream: Duplex): void {
  const read = stream.read.bind(stream)
  stream.read = (size?: number): unknown => {
    const chunk: unknown = read(size)
    return Buffer.isBuffer(chunk) && size !== undefined && chunk.length < size ? null : chunk
  }
}

function unreachable(reason: string): MachineError {
  return new MachineError('CM0501', `the system bus does not answer: ${reason}`)
}

class Connection implements Bus {
  readonly #bus: MessageBus
  readonly #pending = new Set<(error: Error) => void>()
  readonly #waiting: (() => void)[] = []
  readonly #downListeners: ((reason: string) => void)[] = []
  #down: string | undefined

  constructor(bus: MessageBus) {
    this.#bus = bus
    ;(bus as EventEmitter).on('error', (error: unknown) => this.#end(messageOf(error)))
    streamOf(bus)?.on('close', () => this.#end('the connection was closed'))
  }

  async call(call: BusCall): Promise<readonly unknown[]> {
    while (this.#pending.size >= MAX_IN_FLIGHT) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    if (this.#down !== undefined) throw new BusLost(this.#down)
    const message = new Message({
      destination: call.destination,
      path: call.path,
      interface: call.interface,
      member: call.member,
      signature: call.signature ?? '',
      body: [...(call.body ?? [])],
    })
    let abandon: (error: Error) => void = () => undefined
    const lost = new Promise<never>((_, reject) => {
      abandon = reject
    })
    const limitMs = call.timeoutMs ?? CALL_TIMEOUT_MS
    const timer = setTimeout(() => abandon(unreachable(`${call.member} took longer than ${limitMs / 1000} s`)), limitMs)
    this.#pending.add(abandon)
    try {
      const reply = await Promise.race([this.#bus.call(message), lost])
      return (reply?.body ?? []).map(unwrap)
    } catch (error) {
      // A MachineError has a type as well, which is none of D-Bus.
      if (error instanceof MachineError) throw error
      const name = (error as { type?: unknown }).type
      if (typeof name === 'string') throw new BusReplyError(name, messageOf(error))
      throw error
    } finally {
      clearTimeout(timer)
      this.#pending.delete(abandon)
      this.#waiting.shift()?.()
    }
  }

  onSignal(listener: (message: BusMessage) => void): void {
    this.#bus.on('message', (message: Message) => {
      if (message.type !== MessageType.SIGNAL) return
      listener({
        path: message.path,
        interface: message.interface,
        member: message.member,
        body: message.body.map(unwrap),
      })
    })
  }

  onDown(listener: (reason: string) => void): void {
    if (this.#down === undefined) this.#downListeners.push(listener)
    else listener(this.#down)
  }

  close(): void {
    this.#downListeners.length = 0
    this.#end('closed')
    this.#bus.disconnect()
  }

  #end(reason: string): void {
    if (this.#down !== undefined) return
    this.#down = reason
    for (const abandon of this.#pending) abandon(new BusLost(reason))
    for (const wake of this.#waiting.splice(0)) wake()
    for (const listener of this.#downListeners) listener(reason)
  }
}

/** Connects to the system bus. Throws CM0501 when it does not answer within five seconds. */
export async function connectSystemBus(address = 'unix:path=/run/dbus/system_bus_socket'): Promise<Bus> {
  const bus = systemBus({ busAddress: address })
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(unreachable('no answer to Hello')), CONNECT_TIMEOUT_MS)
    bus.once('connect', () => {
      clearTimeout(timer)
      resolve()
    })
    ;(bus as EventEmitter).once('error', (error: unknown) => {
      clearTimeout(timer)
      reject(unreachable(messageOf(error)))
    })
  })
  const stream = streamOf(bus)
  if (stream !== undefined) guardShortReads(stream)
  return new Connection(bus)
}
