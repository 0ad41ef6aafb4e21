import { execFile } from 'node:child_process'
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { isSameFile, type PartIdentity, parsePartMap, renderPartMap, renderRange } from '../../models/part-map.ts'
import { RangeSet } from '../../models/range-set.ts'
import type { HashJob, HashThreads } from './hash-threads.ts'
import type { SyncQueue } from './sync-queue.ts'

/** A file up to this size is fetched anew rather than gone on with. */
const SMALL_BYTES = 8 * 1024 * 1024
/** What has arrived is written to the disk each time that so much more has. */
const SYNC_BYTES = 256 * 1024 * 1024
const MODE = 0o664
const TMPFS = 0x01021994

const runFile = promisify(execFile)
const syncData = promisify(fs.fdatasync)

/** What a file is to be, as far as it is known before anybody was asked. */
export interface WantedPart {
  /** sha256 of the URL that is asked first. */
  readonly source: string
  readonly sha256: string | null
  readonly bytes: number | null
}

/** What all files share. */
export interface PartTools {
  readonly threads: HashThreads
  readonly queue: SyncQueue
  /** Id of the running boot. */
  readonly boot: string
}

/**
 * A file that is being fetched: bytes are written in place, noted in `<path>.map`, hashed in a thread as soon as they follow
 * each other, and synced to the disk as they come. Methods throw what the file system says, with errno in `code`.
 */
export class PartFile {
  readonly path: string
  readonly #threads: HashThreads
  readonly #queue: SyncQueue
  readonly #boot: string
  readonly #isSmall: boolean
  readonly #fd: number
  #log: number | undefined
  #identity: PartIdentity | undefined
  #arrived = new RangeSet()
  #hash: HashJob | undefined
  #unsynced = 0
  #syncing: Promise<void> | undefined
  #reserving: Promise<void> | undefined
  #failure: unknown

  private constructor(path: string, fd: number, isSmall: boolean, tools: PartTools) {
    this.path = path
    this.#isSmall = isSmall
    this.#fd = fd
    this.#threads = tools.threads
    this.#queue = tools.queue
    this.#boot = tools.boot
  }

  /** Opens what is there of a file, where it can be gone on with, or an empty one. */
  static open(path: string, wanted: WantedPart, tools: PartTools): PartFile {
    const isSmall = wanted.bytes !== null && wanted.bytes <= SMALL_BYTES
    const flags = fs.constants.O_RDWR | fs.constants.O_CREAT | fs.constants.O_NOFOLLOW
    const fd = openOrMake(path, flags | (isSmall ? fs.constants.O_TRUNC : 0))
    const part = new PartFile(path, fd, isSmall, tools)
    try {
      if (!isSmall) part.#takeUp(wanted)
    } catch (error) {
      fs.closeSync(fd)
      throw error
    }
    return part
  }

  /** What is known of the file; undefined before an answer has come. */
  get identity(): PartIdentity | undefined {
    return this.#identity
  }

  /** What has arrived. */
  get arrived(): RangeSet {
    return this.#arrived
  }

  /** The first answer tells which file it is. The space is reserved beside; `onFull` is told when there is none. */
  begin(identity: PartIdentity, onFull: (error: unknown) => void): void {
    this.#identity = identity
    if (identity.total <= SMALL_BYTES) return
    fs.ftruncateSync(this.#fd, identity.total)
    this.#reserving = this.#reserve(identity.total).catch(onFull)
    this.#log = fs.openSync(this.#mapPath, 'w', MODE)
    fs.writeSync(this.#log, renderPartMap(identity, this.#boot, []))
  }

  /** Writes bytes at their place. */
  write(data: Uint8Array, at: number): void {
    for (let done = 0; done < data.length; ) done += fs.writeSync(this.#fd, data, done, data.length - done, at + done)
    this.#arrived.add(at, at + data.length)
    if (this.#log !== undefined) fs.writeSync(this.#log, renderRange({ from: at, to: at + data.length }))
    this.#hash ??= this.#threads.begin(this.path)
    this.#hash.advance(this.#arrived.prefix)
    this.#unsynced += data.length
    if (this.#unsynced >= SYNC_BYTES) this.#syncAside()
  }

  /** Forgets everything; returns how many bytes had arrived. */
  reset(): number {
    const { bytes } = this.#arrived
    if (this.#isNew) return bytes
    this.#hash?.cancel()
    this.#hash = undefined
    this.#arrived = new RangeSet()
    this.#identity = undefined
    this.#closeLog()
    fs.rmSync(this.#mapPath, { force: true })
    fs.ftruncateSync(this.#fd, 0)
    return bytes
  }

  /** Nothing has happened to it since it was made empty. */
  get #isNew(): boolean {
    return this.#isSmall && this.#identity === undefined && this.#arrived.bytes === 0
  }

  /** The file is whole with `total` bytes: they are on the disk when this resolves to their sha256. */
  async finish(total: number): Promise<string> {
    fs.ftruncateSync(this.#fd, total)
    this.#hash ??= this.#threads.begin(this.path)
    const hashed = this.#hash.finish(total)
    const [sha256] = await Promise.all([hashed, this.#syncing, this.#reserving])
    if (this.#failure !== undefined) throw this.#failure
    if (!this.#isVolatile) await (total <= SMALL_BYTES ? this.#queue.sync(this.#fd, this.path) : syncData(this.#fd))
    return sha256
  }

  /** Ends the work with the file. What has arrived is synced first where it is to be gone on with after a reboot. */
  async close(isToStay: boolean): Promise<void> {
    this.#hash?.cancel()
    await Promise.all([this.#syncing, this.#reserving])
    try {
      if (isToStay && this.#log !== undefined) await this.#sync()
    } finally {
      this.#closeLog()
      fs.closeSync(this.#fd)
    }
  }

  /** Removes the file and its map. */
  remove(): void {
    fs.rmSync(this.#mapPath, { force: true })
    fs.rmSync(this.path, { force: true })
  }

  get #mapPath(): string {
    return `${this.path}.map`
  }

  #takeUp(wanted: WantedPart): void {
    const text = fs.existsSync(this.#mapPath) ? fs.readFileSync(this.#mapPath, 'utf8') : ''
    const map = parsePartMap(text, this.#boot)
    const isUsable =
      map !== undefined && isSameFile(map.identity, wanted) && fs.fstatSync(this.#fd).size === map.identity.total
    if (!isUsable) {
      this.reset()
      return
    }
    this.#identity = map.identity
    this.#arrived = map.arrived
    if (map.isSameBoot) this.#log = fs.openSync(this.#mapPath, 'a')
    else this.#rewriteMap(map.arrived.ranges)
    // A kill may have left a line without its end.
    if (this.#log !== undefined && !text.endsWith('\n')) fs.writeSync(this.#log, '\n')
    this.#hash = this.#threads.begin(this.path)
    this.#hash.advance(this.#arrived.prefix)
  }

  /** It lies in memory: nothing of it is ever on a disk. */
  get #isVolatile(): boolean {
    return fs.statfsSync(this.path).type === TMPFS
  }

  // Where blocks cannot be reserved the file stays sparse: a full disk is then found by a write.
  async #reserve(total: number): Promise<void> {
    // tmpfs would fill the pages with zeros.
    if (this.#isVolatile) return
    await runFile('fallocate', ['--keep-size', '--length', String(total), this.path]).catch((error: Error) => {
      if (/No space left|quota exceeded/i.test(error.message)) {
        throw Object.assign(new Error(`there is no room for ${total} bytes`, { cause: error }), { code: 'ENOSPC' })
      }
    })
  }

  #syncAside(): void {
    if (this.#syncing !== undefined) return
    this.#unsynced = 0
    this.#syncing = this.#sync().then(
      () => {
        this.#syncing = undefined
      },
      // Thrown when the file is whole.
      (error: unknown) => {
        this.#failure = error
      },
    )
  }

  async #sync(): Promise<void> {
    const arrived = [...this.#arrived.ranges]
    await syncData(this.#fd)
    if (this.#log !== undefined) this.#rewriteMap(arrived)
  }

  /** A map that begins with what is on the disk and goes on with what has arrived since. */
  #rewriteMap(synced: readonly { readonly from: number; readonly to: number }[]): void {
    if (this.#identity === undefined) return
    const next = `${this.#mapPath}.next`
    const log = fs.openSync(next, 'w', MODE)
    const lines = this.#arrived.ranges.map(renderRange)
    fs.writeSync(log, `${renderPartMap(this.#identity, this.#boot, synced)}${lines.join('')}`)
    fs.fdatasyncSync(log)
    fs.renameSync(next, this.#mapPath)
    this.#closeLog()
    this.#log = log
  }

  #closeLog(): void {
    if (this.#log !== undefined) fs.closeSync(this.#log)
    this.#log = undefined
  }
}

function openOrMake(path: string, flags: number): number {
  try {
    return fs.openSync(path, flags, MODE)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    fs.mkdirSync(dirname(path), { recursive: true })
    return fs.openSync(path, flags, MODE)
  }
}
