import { fault } from '../fault.ts'
import type { Exchange, Line, LineEvents } from './exchange.ts'
import type { FileTask } from './file-task.ts'
import { LibraryLine } from './library-line.ts'
import { SocketLine } from './socket-line.ts'

/** How many connections there may be, and how patient they are; times in milliseconds. */
export interface DispatcherSettings {
  readonly connections: number
  readonly connectionsPerHost: number
  readonly connectMs: number
  /** A connection that brings no byte for so long is cut. */
  readonly stallMs: number
  /** So is one that brings less than a kB a second over this time. */
  readonly slowMs: number
  readonly proxies: Readonly<Record<string, string>>
}

const WATCH_MS = 500
const SLOWEST_BYTES_PER_MS = 1
// One buffer for all: what a socket has read is out of it before another one reads.
const BUFFER_BYTES = 256 * 1024

interface Open {
  readonly line: Line
  readonly host: string
  readonly isLibrary: boolean
}

/** Gives the connections to the files that wait for bytes, the file that came first before the others. */
export class Dispatcher {
  readonly #settings: DispatcherSettings
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  readonly #tasks = new Set<FileTask>()
  readonly #open = new Set<Open>()
  #watch: NodeJS.Timeout | undefined
  #wake: NodeJS.Timeout | undefined
  #countedMs = Date.now()
  #isPumping = false
  #isAsked = false

  constructor(settings: DispatcherSettings) {
    this.#settings = settings
  }

  add(task: FileTask): void {
    this.#tasks.add(task)
    this.#watch ??= setInterval(() => this.#cutStalled(), WATCH_MS)
  }

  remove(task: FileTask): void {
    this.#tasks.delete(task)
    if (this.#tasks.size > 0) return
    clearInterval(this.#watch)
    clearTimeout(this.#wake)
    this.#watch = undefined
  }

  /** Ends every connection. */
  close(error: Error): void {
    for (const { line } of [...this.#open]) line.destroy(error)
  }

  /** Hands out what can be claimed. What wakes it meanwhile has it look once more, and goes no deeper. */
  readonly pump = (): void => {
    this.#isAsked = true
    if (this.#isPumping) return
    this.#isPumping = true
    let nowMs = Date.now()
    while (this.#isAsked) {
      this.#isAsked = false
      nowMs = Date.now()
      for (const task of this.#tasks) {
        if (!this.#hasRoom()) break
        if (mayClaim(task)) this.#serve(task, nowMs)
      }
    }
    this.#isPumping = false
    this.#sleep(nowMs)
  }

  /** Some line is idle, or another one may be opened. */
  #hasRoom(): boolean {
    if (this.#open.size < this.#settings.connections) return true
    for (const { line } of this.#open) if (line.isIdle()) return true
    return false
  }

  #serve(task: FileTask, nowMs: number): void {
    task.chooseSource()
    for (;;) {
      const place = this.#findLine(task)
      if (place === undefined) return
      const exchange = task.claim(nowMs, place === 'new' ? undefined : place.watch.perMs)
      if (exchange === undefined) return
      const line = place === 'new' ? this.#openLine(task) : place
      line.start(exchange)
    }
  }

  /** An idle line to where the file is, or that a new one may be opened. */
  #findLine(task: FileTask): Line | 'new' | undefined {
    const { origin, host } = task.trail.target.url
    let toHost = 0
    let idle: Open | undefined
    for (const open of this.#open) {
      if (open.line.origin === origin && open.isLibrary === task.isLibrary && open.line.isIdle()) return open.line
      if (open.host === host) toHost += 1
      else if (open.line.isIdle()) idle = open
    }
    if (toHost >= this.#settings.connectionsPerHost) return undefined
    if (this.#open.size < this.#settings.connections) return 'new'
    if (idle === undefined) return undefined
    idle.line.destroy(fault('ECANCELED', 'the connection is needed for another host'))
    return 'new'
  }

  #openLine(task: FileTask): Line {
    const { url } = task.trail.target
    const { proxies, connectMs } = this.#settings
    const events: LineEvents = {
      next: (line) => this.#next(line, task.isLibrary),
      idle: this.pump,
      closed: () => {
        this.#open.delete(open)
        this.pump()
      },
    }
    const line = task.isLibrary
      ? new LibraryLine(url, events, proxies, connectMs)
      : new SocketLine(url, events, this.#buffer, connectMs)
    const open = { line, host: url.host, isLibrary: task.isLibrary }
    this.#open.add(open)
    return line
  }

  #next(line: Line, isLibrary: boolean): Exchange | undefined {
    const nowMs = Date.now()
    for (const task of this.#tasks) {
      if (!mayClaim(task) || task.isLibrary !== isLibrary || task.trail.target.url.origin !== line.origin) continue
      const exchange = task.claim(nowMs, line.watch.perMs)
      if (exchange !== undefined) return exchange
    }
    return undefined
  }

  /** Looks again when the first of the files that waited at `servedMs` may be tried again: that moment may have passed since. */
  #sleep(servedMs: number): void {
    let atMs = Number.POSITIVE_INFINITY
    for (const { notBeforeMs } of this.#tasks) if (notBeforeMs > servedMs) atMs = Math.min(atMs, notBeforeMs)
    clearTimeout(this.#wake)
    if (Number.isFinite(atMs)) this.#wake = setTimeout(this.pump, Math.max(0, atMs - Date.now()))
  }

  #cutStalled(): void {
    const nowMs = Date.now()
    const { stallMs, slowMs } = this.#settings
    for (const { line } of [...this.#open]) {
      if (line.watch.silentMs(nowMs) > stallMs) line.destroy(fault('ESTALL', `no byte came for ${stallMs / 1000} s`))
    }
    const elapsedMs = nowMs - this.#countedMs
    if (elapsedMs < slowMs) return
    this.#countedMs = nowMs
    for (const { line } of [...this.#open]) {
      const count = line.watch.takeCount()
      const isSlow = line.watch.busyMs(nowMs) > slowMs && count < elapsedMs * SLOWEST_BYTES_PER_MS
      if (isSlow) line.destroy(fault('ESTALL', `${count} bytes came in ${Math.round(elapsedMs / 1000)} s`))
    }
  }
}

/** Asked of every file for each answer, and cheap: most of them wait for an answer, or for their hash. */
function mayClaim({ mode }: FileTask): boolean {
  return mode === 'ask' || mode === 'ranges'
}
