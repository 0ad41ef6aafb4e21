import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { fdatasync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { promisify } from 'node:util'

/** So many files that wait together are synced with their whole file system, by one call. */
const MANY = 4
/** Files that become whole within this time after a sync share the next one. */
const PAUSE_MS = 15
/** One shell for all calls: to start a program out of a process of this size takes 5 ms each time. */
const SHELL = 'while IFS= read -r path; do sync --file-system -- "$path" && echo ok || echo failed; done'

const syncData = promisify(fdatasync)

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
  #shell: SyncShell | undefined

  /** Resolves when the bytes of an open file are on the disk. */
  sync(fd: number, path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ fd, path, resolve, reject })
      if (!this.#isRunning) void this.#run()
    })
  }

  close(): void {
    this.#shell?.close()
  }

  async #run(): Promise<void> {
    this.#isRunning = true
    while (this.#waiting.length > 0) {
      const files = this.#waiting
      this.#waiting = []
      const isSynced = files.length >= MANY && (await this.#syncTogether(files))
      if (!isSynced) await Promise.all(files.map(syncAlone))
    }
    this.#isRunning = false
  }

  /** False where it could not be done so. */
  async #syncTogether(files: readonly Waiting[]): Promise<boolean> {
    const [first] = files
    this.#shell ??= new SyncShell()
    // A line is a path there.
    if (first === undefined || first.path.includes('\n') || !(await this.#shell.sync(first.path))) return false
    for (const { resolve } of files) resolve()
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    return true
  }
}

async function syncAlone({ fd, resolve, reject }: Waiting): Promise<void> {
  await syncData(fd).then(resolve, reject)
}

/** A shell that syncs the file system of each path that it is told. It does not keep the process alive. */
class SyncShell {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>
  #answer: (isSynced: boolean) => void = () => undefined
  #hasEnded = false

  constructor() {
    this.#child = spawn('/bin/sh', ['-c', SHELL], { stdio: ['pipe', 'pipe', 'ignore'] })
    this.#child.unref()
    const end = (): void => {
      this.#hasEnded = true
      this.#answer(false)
    }
    this.#child.on('error', end)
    this.#child.on('close', end)
    this.#child.stdin.on('error', end)
    createInterface(this.#child.stdout).on('line', (line) => this.#answer(line === 'ok'))
  }

  /** One path at a time. */
  sync(path: string): Promise<boolean> {
    if (this.#hasEnded) return Promise.resolve(false)
    return new Promise((resolve) => {
      this.#answer = resolve
      this.#child.stdin.write(`${path}\n`)
    })
  }

  close(): void {
    this.#child.stdin.end()
  }
}
