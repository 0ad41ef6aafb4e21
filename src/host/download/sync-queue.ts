import { execFile } from 'node:child_process'
import { fdatasync } from 'node:fs'
import { promisify } from 'node:util'

/** So many files that wait together are synced with their whole file system, by one call. */
const MANY = 4
const PAUSE_MS = 15

const syncData = promisify(fdatasync)
const runFile = promisify(execFile)

/** A file whose bytes are to be on the disk. */
interface Waiting {
  readonly fd: number
  readonly path: string
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * Syncs small files: one by itself, several that become whole within a moment together with their file system (syncfs(2), by
 * sync(1)), because each sync of a file costs a commit of the journal.
 */
export class SyncQueue {
  #waiting: Waiting[] = []
  #isRunning = false

  /** Resolves when the bytes of an open file are on the disk. */
  sync(fd: number, path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ fd, path, resolve, reject })
      if (!this.#isRunning) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#waiting.length > 0) {
      const files = this.#waiting
      this.#waiting = []
      const [first] = files
      const isGroup = first !== undefined && files.length >= MANY
      if (isGroup) {
        const pause = new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
        await settle(files, runFile('sync', ['--file-system', first.path]))
        await pause
      } else await Promise.all(files.map((file) => settle([file], syncData(file.fd))))
    }
    this.#isRunning = false
  }
}

async function settle(files: readonly Waiting[], done: Promise<unknown>): Promise<void> {
  try {
    await done
    for (const { resolve } of files) resolve()
  } catch (error) {
    for (const { reject } of files) reject(error)
  }
}
