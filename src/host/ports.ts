/**
 * The outside world on one page: what the machine asks of its host. Everything but `src/host/` sees only these
 * interfaces; a test gives plain values instead.
 */
import type { Attributes, ReportLine } from '../report.ts'

/** Wall clock and waiting. */
export interface Clock {
  /** Microseconds since the epoch. */
  nowUs(): number
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** What `stat` tells of a path. */
export interface FileStat {
  readonly kind: 'file' | 'directory' | 'symlink' | 'other'
  readonly bytes: number
  /** Bytes that it takes on the disk, fewer than its size where it has holes; absent where nobody tells. */
  readonly allocatedBytes?: number
  /** Permission bits, e.g. 0o644. */
  readonly mode: number
  readonly uid: number
  readonly mtimeMs: number
}

/** Owner and mode of something written. */
export interface WriteOptions {
  readonly mode?: number
  /** fsync file and directory, so that the content survives a power cut. */
  readonly durable?: boolean
}

/** Space left on the file system of a path. */
export interface FreeSpace {
  readonly bytes: number
  readonly inodes: number
}

/** Files of the host. A missing file is `undefined`, never an exception; every other failure throws with errno in `code`. */
export interface Files {
  readText(path: string): Promise<string | undefined>
  /** As readText, of a place where another user may write: no link is followed, and only a file of up to 8 MiB is read. */
  readForeign(path: string): Promise<string | undefined>
  /** Bytes of a file from an offset on, at most `length` of them. */
  readBytes(path: string, from: number, length: number): Promise<Uint8Array | undefined>
  /** Writes to a temporary name in the same directory and renames. */
  writeText(path: string, text: string, options?: WriteOptions): Promise<void>
  /** Appends all of a text, or nothing when that fails: on a full disk no half line is left. One writer at a time. */
  appendText(path: string, text: string, options?: WriteOptions): Promise<void>
  stat(path: string): Promise<FileStat | undefined>
  lstat(path: string): Promise<FileStat | undefined>
  /** Names in a directory, sorted; empty when it does not exist. */
  list(path: string): Promise<readonly string[]>
  makeDirectory(path: string, mode?: number): Promise<void>
  /** Gives a path, never what a link points at, to `user` or `user:group`; a group is named by the user of that name. */
  chown(path: string, owner: string): Promise<void>
  /** Atomically points the symbolic link `path` at `target`. */
  link(target: string, path: string): Promise<void>
  readLink(path: string): Promise<string | undefined>
  rename(from: string, to: string): Promise<void>
  /** Removes a file or a whole tree; nothing happens when it is not there. */
  remove(path: string): Promise<void>
  freeSpace(path: string): Promise<FreeSpace>
  /** Calls `onChange` when the file is replaced or written; the result stops watching. */
  watch(path: string, onChange: () => void): () => void
}

/** How a command is run; the environment is exactly `env`, nothing is inherited. */
export interface ExecOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Called with each line of stdout and stderr as it comes. */
  readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void
}

/** The end of a command. `signal` is set when it was killed, `timedOut` when by its time limit. */
export interface ExecResult {
  readonly code: number | null
  readonly signal: string | null
  readonly timedOut: boolean
  readonly stdout: string
  readonly stderr: string
}

/** Runs programs from an argument vector, never through a shell. A program that does not exist gives code 127. */
export interface Exec {
  run(argv: readonly [string, ...string[]], options?: ExecOptions): Promise<ExecResult>
}

/** sd_notify(3) of this process; every call does nothing when systemd did not open the socket. */
export interface Notify {
  ready(): void
  stopping(): void
  /** One line for `systemctl status`, at most 4096 bytes. */
  status(text: string): void
  /** EXTEND_TIMEOUT_USEC: the start may take `ms` milliseconds more from now. */
  extend(ms: number): void
  watchdog(): void
}

/** syslog(3) levels as the journal's PRIORITY field knows them. */
export type Priority = 'err' | 'warning' | 'notice' | 'info' | 'debug'

/** One journal entry with structured fields, systemd.journal-fields(7). */
export interface JournalEntry {
  readonly message: string
  readonly priority: Priority
  readonly messageId?: string
  /** Further fields, e.g. `COMFY_STEP`; names are uppercase. */
  readonly fields?: Readonly<Record<string, string>>
}

/** The journal of this process; plain lines on stderr where no journal socket was given. */
export interface Journal {
  write(entry: JournalEntry): void
}

/** Values of secrets by variable name, from systemd credentials. */
export interface Secrets {
  read(name: string): string | undefined
}

/** Where a unit's process writes its report, see `src/report.ts`. */
export interface Report {
  write(line: ReportLine): void
}

/**
 * One unit as the manager last described it, org.freedesktop.systemd1(5). Times are microseconds since the epoch and, where
 * named so, of CLOCK_MONOTONIC: the same moment on a clock that nobody sets. 0 for never.
 */
export interface UnitSnapshot {
  readonly name: string
  readonly loadState: string
  readonly activeState: string
  readonly subState: string
  /** Result of the service or socket: success, exit-code, signal, core-dump, timeout, watchdog, oom-kill, … */
  readonly result: string
  readonly jobId: number
  readonly invocationId: string
  readonly restarts: number
  readonly mainPid: number
  /** How the main process ended: 1 exited, 2 killed, 3 dumped core; 0 when it has not. */
  readonly exitCode: number
  /** Its exit status, or the number of the signal that killed it. */
  readonly exitStatus: number
  readonly statusText: string
  readonly conditionResult: boolean
  readonly conditionUs: number
  readonly conditionMonoUs: number
  readonly inactiveExitUs: number
  readonly inactiveExitMonoUs: number
  readonly activeEnterUs: number
  readonly activeEnterMonoUs: number
  readonly inactiveEnterUs: number
  readonly inactiveEnterMonoUs: number
  readonly execMainStartUs: number
  readonly execMainStartMonoUs: number
  readonly execMainExitUs: number
  readonly execMainExitMonoUs: number
  readonly needDaemonReload: boolean
  readonly loadError: string
}

/** Something that happened in the manager. Unit changes carry the whole snapshot, taken from the signal itself. */
export type ManagerEvent =
  | { readonly kind: 'unit'; readonly unit: UnitSnapshot }
  | { readonly kind: 'job-new'; readonly unit: string; readonly jobId: number; readonly atUs: number }
  | {
      readonly kind: 'job-removed'
      readonly unit: string
      readonly jobId: number
      readonly result: string
      readonly atUs: number
    }
  | { readonly kind: 'reloading'; readonly active: boolean; readonly atUs: number }
  | { readonly kind: 'down'; readonly reason: string }
  | { readonly kind: 'up' }

/** One row of `systemctl list-units`. */
export interface ListedUnit {
  readonly name: string
  readonly loadState: string
  readonly activeState: string
  readonly subState: string
  /** 0 when it has no job. */
  readonly jobId: number
}

/** Boot timestamps of the manager, microseconds since the epoch; 0 where the firmware does not tell. */
export interface BootTimes {
  readonly firmwareUs: number
  readonly loaderUs: number
  readonly kernelUs: number
  readonly userspaceUs: number
  readonly finishUs: number
}

/** How a job of the manager ended: done, failed, canceled, timeout, dependency, skipped, … */
export type JobResult = string

/**
 * systemd's manager over D-Bus, org.freedesktop.systemd1(5). A call outlives a restart of the bus and of the manager
 * (daemon-reexec) of up to five seconds and throws CM0501 after that.
 */
export interface Manager {
  /** e.g. `257.13-1~deb13u1`. */
  version(): Promise<string>
  bootTimes(): Promise<BootTimes>
  /** Loads and describes units, keeping them loaded while this connection lives. */
  snapshots(names: readonly string[]): Promise<readonly UnitSnapshot[]>
  /** Loaded units that match shell patterns. */
  list(patterns: readonly string[]): Promise<readonly ListedUnit[]>
  /** Loads units by name and says how that went. */
  load(names: readonly string[]): Promise<readonly ListedUnit[]>
  /** daemon-reload; resolves when the manager has finished, with its begin and end in microseconds since the epoch. */
  reload(): Promise<{ readonly startUs: number; readonly endUs: number }>
  /** Queues a start job; resolves when it is queued. */
  start(name: string): Promise<void>
  /** Starts and waits for the job's result. */
  startAndWait(name: string): Promise<JobResult>
  stopAndWait(name: string): Promise<JobResult>
  restartAndWait(name: string): Promise<JobResult>
  resetFailed(name: string): Promise<void>
  /** Delivers every event from now on; the result stops. */
  follow(listener: (event: ManagerEvent) => void): () => void
  close(): Promise<void>
}

/** What systeminformation says of the hardware. */
export interface HostFacts {
  readonly cpuModel: string
  readonly cpuCores: number
  readonly memoryMiB: number
  /** Display adapters seen by other means than nvidia-smi; for comparison only. */
  readonly graphics: readonly string[]
}

/** A reference to a span of another trace, or of this one beside the parent. */
export interface SpanLink {
  readonly traceId: string
  readonly spanId: string
  readonly attributes?: Attributes
}

/** A span as data: what the outbox keeps until the exporter has delivered it. Ids are lowercase hex, times microseconds. */
export interface SpanRecord {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  /** Default: internal. */
  readonly kind?: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  readonly startUs: number
  readonly endUs: number
  readonly attributes: Attributes
  readonly events: readonly { readonly name: string; readonly atUs: number; readonly attributes: Attributes }[]
  readonly links: readonly SpanLink[]
  /** Present when the span's status is ERROR. */
  readonly error?: string
  readonly resource: Attributes
}

/** Where a command prints and what it may assume of the reader. */
export interface Terminal {
  /** Writes to standard output as it is. */
  write(text: string): void
  /** Writes to standard error as it is. */
  error(text: string): void
  /** Standard output is a terminal, which can be redrawn. */
  readonly isTTY: boolean
  /** Colour is wanted: a terminal, and NO_COLOR is not set (no-color.org). */
  readonly colour: boolean
  /** Size of the terminal; 80 by 24 where there is none. */
  readonly columns: number
  readonly rows: number
}

/** A request as the health server sees it; `path` is without the query. */
export interface HttpRequest {
  readonly method: string
  readonly path: string
}

/** A complete answer; the server adds the length and leaves the body out for HEAD. */
export interface HttpReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** One server-sent event (html.spec.whatwg.org, section 9.2); `data` is a single line. */
export interface ServerEvent {
  readonly event: string
  readonly data: string
}

/** What an HTTP server answers. */
export interface HttpHandler {
  answer(request: HttpRequest): Promise<HttpReply>
  /** Path of the event stream. */
  readonly eventsPath: string
  /** Called for a new reader of the event stream, before its greeting. */
  prepare(): Promise<void>
  /** What a new reader of the event stream is sent first. */
  greet(): readonly ServerEvent[]
  /** Called with each heartbeat, while somebody reads the event stream. */
  beat(): void
  /** Told of whatever the other calls threw; the client got a 500. */
  failed(error: unknown): void
}

/** Where an HTTP server listens: a socket that systemd opened, or a port of this host. */
export type HttpListen = { readonly fd: number } | { readonly port: number; readonly host: string }

/** A running HTTP server. */
export interface HttpServer {
  /** How many read the event stream now. */
  readers(): number
  /** Sends events to every reader of the event stream; one that does not read is dropped. */
  broadcast(events: readonly ServerEvent[]): void
  /** Ends every stream and connection at once. */
  close(): Promise<void>
}

/** A text file within an archive; `path` is relative. */
export interface ArchiveEntry {
  readonly path: string
  readonly text: string
}

/** Packs text files. */
export interface Archive {
  /** Writes a tar.gz with mode 0600; the entries keep their order. */
  pack(out: string, entries: readonly ArchiveEntry[]): Promise<void>
}

/** What `POST /prompt` of ComfyUI answers: queued, or refused with its reasons as ComfyUI words them. */
export type PromptAnswer =
  | { readonly kind: 'queued'; readonly promptId: string }
  | { readonly kind: 'refused'; readonly status: number; readonly body: unknown }

/** A file that a prompt made, as ComfyUI names it. */
export interface OutputFile {
  readonly filename: string
  readonly subfolder: string
  /** `output`, `temp` or `input`. */
  readonly type: string
}

/** A file read back. `data` is absent when the file is larger than what was asked for. */
export interface ViewedFile {
  readonly contentType: string
  readonly bytes: number
  readonly data?: Uint8Array
}

/** ComfyUI over HTTP (upstream server.py). A call rejects when ComfyUI does not answer or answers with an error. */
export interface ComfyUI {
  systemStats(): Promise<unknown>
  /** The messages of its log ring (300 entries); undefined where this version does not tell. */
  logs(): Promise<readonly string[] | undefined>
  /** Every class that it offers, by name, as `GET /object_info` tells; classes that cannot be described are left out. */
  objectInfo(): Promise<unknown>
  /** Paths of the scripts that custom nodes add to the page, `/extensions/NODE/…`; undefined where this version does not tell. */
  extensions(): Promise<readonly string[] | undefined>
  /** Queues a prompt, with `front` before those that wait. */
  submit(
    prompt: unknown,
    clientId: string,
    extraData: unknown,
    options?: { readonly front: boolean },
  ): Promise<PromptAnswer>
  /** The finished prompt's entry; undefined while it is not finished or not known. */
  history(promptId: string): Promise<unknown>
  /** Prompt ids that run and that wait. */
  queue(): Promise<{ readonly running: readonly string[]; readonly pending: readonly string[] }>
  /** Interrupts the running prompt; old versions interrupt whatever runs. */
  interrupt(promptId: string): Promise<void>
  dequeue(promptId: string): Promise<void>
  /** Takes a finished prompt out of the history. */
  forget(promptId: string): Promise<void>
  view(file: OutputFile, maxBytes: number): Promise<ViewedFile>
  close(): void
}

/** One JSON message of ComfyUI's WebSocket. */
export interface ComfyMessage {
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}

/** What the WebSocket tells: the connection coming and going, and messages in between. */
export type ComfySocketEvent =
  | { readonly kind: 'up' }
  | { readonly kind: 'down'; readonly reason: string }
  | { readonly kind: 'message'; readonly message: ComfyMessage }

/** ComfyUI's WebSocket for one client id; it reconnects by itself until closed. */
export interface ComfySocket {
  isUp(): boolean
  /** Delivers every event from now on; the result stops. */
  follow(listener: (event: ComfySocketEvent) => void): () => void
  close(): void
}

/** Progress of a job as its producer sees it: `value` of `max` within the node that runs. */
export interface JobProgress {
  readonly value: number
  readonly max: number
  readonly node: string | null
  readonly prompt_id: string
}

/** A job taken from a queue; it is this worker's until its outcome is known. */
export interface QueuedJob {
  readonly id: string
  readonly queue: string
  readonly data: unknown
  /** The metadata of BullMQ's Telemetry interface, as its producer wrote it: JSON of a carrier. */
  readonly telemetry?: string
  /** 1 for the first attempt. */
  readonly attempt: number
  /** Sends progress; in order, without waiting for it. */
  progress(progress: JobProgress): void
}

/** How a job ended. `returned`: not begun or given up for another worker; it stands in the queue again. */
export type JobOutcome =
  | { readonly kind: 'completed'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly message: string; readonly isRetriable: boolean }
  | { readonly kind: 'returned' }

/** Queues this worker takes jobs from, one at a time over all of them. */
export interface JobSource {
  /** Begins to take jobs; `signal` of a job aborts when it is no longer this worker's or `abort` was called. */
  start(process: (job: QueuedJob, signal: AbortSignal) => Promise<JobOutcome>): void
  /** Takes no new job from now on; a running one goes on. */
  pause(): void
  resume(): void
  /** Gives up the running job. */
  abort(): void
  /** Resolves when no job runs. */
  idle(): Promise<void>
  isConnected(): boolean
  /** Calls `listener` when the connection to Redis is lost or back. */
  onConnection(listener: (isConnected: boolean) => void): void
  close(): Promise<void>
}

/** The hub's Redis as the controller uses it. */
export interface Hub {
  /** Sends one message; resolves to the reason when it could not be sent, never rejects. */
  publish(channel: string, message: string): Promise<string | undefined>
  close(): Promise<void>
}
