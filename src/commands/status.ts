import { changed } from '../health/changes.ts'
import { formatTime } from '../health/format.ts'
import { openRecord, type Sighting, type StateRecord } from '../health/record.ts'
import { knownUntilUs, statusReport } from '../health/reports.ts'
import { judge } from '../health/standing.ts'
import { statusLines, stepChangeLine } from '../health/text.ts'
import { systemClock } from '../host/clock.ts'
import { systemFiles } from '../host/files.ts'
import type { Clock, Terminal } from '../host/ports.ts'

/** What `comfy-machine status` may be told. */
export interface StatusOptions {
  readonly watch?: boolean
  readonly wait?: boolean
  readonly json?: boolean
  /** With `wait`: give up after this many seconds. */
  readonly timeoutS?: number
}

/** What the status needs of the outside. */
export interface StatusPorts {
  readonly record: StateRecord
  readonly clock: Clock
  readonly terminal: Terminal
  /** Ends a `--watch`. */
  readonly signal?: AbortSignal
}

/** How long a record whose agent has ended may still be replaced by a new startup. */
const REPLACED_WITHIN_US = 3_000_000
const TICK_MS = 1_000
const CLEAR = '\u001b[H\u001b[2J\u001b[3J'

/** `comfy-machine status`: the 21 steps; resolves to the exit code, see STATUS_HELP. */
export function statusCommand(options: StatusOptions, terminal: Terminal): Promise<number> {
  const record = openRecord(systemFiles, systemClock)
  return showStatus(options, { record, clock: systemClock, terminal })
}

/** The status over given ports. */
export async function showStatus(options: StatusOptions, ports: StatusPorts): Promise<number> {
  if (options.watch === true || options.wait === true) return follow(options, ports)
  const sighting = await ports.record.look()
  print(sighting, options, ports)
  return exitCode(sighting)
}

/** 0 ready; 1 failed, degraded, stopped or left by its agent; 2 starting or nothing on record. */
export function exitCode(sighting: Sighting): 0 | 1 | 2 {
  const { ready, phase, healthy } = judge(sighting)
  if (ready) return 0
  if (sighting.state === undefined) return sighting.trouble === undefined ? 2 : 1
  return phase === 'starting' && healthy ? 2 : 1
}

async function follow(options: StatusOptions, ports: StatusPorts): Promise<number> {
  const { clock, record, terminal, signal } = ports
  const begunUs = clock.nowUs()
  const deadlineUs = options.timeoutS === undefined ? undefined : begunUs + options.timeoutS * 1_000_000
  const bell = openBell(record, signal)
  let before: Sighting | undefined
  let deadSinceUs: number | undefined
  try {
    while (signal?.aborted !== true) {
      bell.listen()
      const sighting = await record.look()
      const nowUs = clock.nowUs()
      if (options.watch === true) showChange(before, sighting, options, ports)
      const left = sighting.state !== undefined && !sighting.alive
      deadSinceUs = left ? (deadSinceUs ?? nowUs) : undefined
      const seenAlive = before?.alive === true && before.state?.traceId === sighting.state?.traceId
      before = sighting
      if (options.wait === true) {
        const ended = hasEnded(sighting, seenAlive, nowUs - (deadSinceUs ?? nowUs))
        if (ended) return finish(sighting, options, ports)
        if (deadlineUs !== undefined && nowUs >= deadlineUs) {
          if (options.watch !== true) print(sighting, options, ports)
          terminal.error(`comfy-machine: not ready after ${options.timeoutS} s: ${judge(sighting).reason}\n`)
          return 2
        }
      }
      await bell.next(clock, deadlineUs === undefined ? TICK_MS : Math.min(TICK_MS, (deadlineUs - nowUs) / 1000))
    }
  } finally {
    bell.close()
  }
  return exitCode(before ?? { alive: false })
}

/** A startup has ended when it is ready or failed; one that its agent left only when nobody took it up again in time. */
function hasEnded(sighting: Sighting, seenAlive: boolean, deadForUs: number): boolean {
  const code = exitCode(sighting)
  if (code === 2) return false
  if (code === 0 || sighting.alive || sighting.state === undefined) return true
  const said = sighting.state.phase === 'failed' || sighting.state.phase === 'stopped'
  return (said && seenAlive) || deadForUs >= REPLACED_WITHIN_US
}

function finish(sighting: Sighting, options: StatusOptions, ports: StatusPorts): number {
  if (options.watch !== true) print(sighting, options, ports)
  const code = exitCode(sighting)
  if (code !== 0) ports.terminal.error(`comfy-machine: not ready: ${judge(sighting).reason}\n`)
  return code
}

function print(sighting: Sighting, options: StatusOptions, { clock, terminal }: StatusPorts): void {
  const nowUs = clock.nowUs()
  if (options.json === true) {
    terminal.write(`${JSON.stringify(statusReport(sighting, nowUs).body)}\n`)
    return
  }
  const size = terminal.isTTY ? { columns: terminal.columns } : {}
  terminal.write(`${statusLines(sighting, nowUs, { colour: terminal.colour, ...size }).join('\n')}\n`)
}

function showChange(before: Sighting | undefined, after: Sighting, options: StatusOptions, ports: StatusPorts): void {
  const { clock, terminal } = ports
  if (terminal.isTTY && options.json !== true) {
    const style = { colour: terminal.colour, columns: terminal.columns, rows: terminal.rows }
    terminal.write(`${CLEAR}${statusLines(after, clock.nowUs(), style).join('\n')}\n`)
    return
  }
  const same = before !== undefined && before.alive === after.alive && before.state === after.state
  if (same) return
  if (options.json === true) print(after, options, ports)
  else
    terminal.write(
      changeLines(before, after, clock.nowUs())
        .map((line) => `${line}\n`)
        .join(''),
    )
}

/** What to log of a change: the machine where it stands elsewhere, then each changed step. */
function changeLines(before: Sighting | undefined, after: Sighting, nowUs: number): readonly string[] {
  const time = formatTime(nowUs).slice(11, 19)
  const { state } = after
  const standing = judge(after)
  const old = before === undefined ? undefined : judge(before)
  const moved = old === undefined || old.phase !== standing.phase || old.healthy !== standing.healthy
  const lines = moved ? [`${time}  machine ${standing.phase}: ${standing.reason}`] : []
  if (state === undefined) return lines
  const known = before?.state?.traceId === state.traceId ? before.state.steps : []
  const untilUs = knownUntilUs(state, after.alive, nowUs)
  const steps = changed(known, state.steps, (step) => step.number)
    .filter((step) => known.length > 0 || step.state !== 'pending')
    .map((step) => `${time}  ${stepChangeLine(step, untilUs, { colour: false })}`)
  const [was, now] = [before?.state?.laterModels?.state, state.laterModels?.state]
  const later = now === undefined || now === was ? [] : [`${time}  loading after the start: ${now}`]
  return [...steps, ...lines, ...later]
}

/** Wakes a waiting loop when the record changes. */
function openBell(record: StateRecord, stop: AbortSignal | undefined) {
  let ring = new AbortController()
  let unwatch: (() => void) | undefined
  const close = (): void => {
    unwatch?.()
    unwatch = undefined
  }
  const stopped = (): void => ring.abort()
  stop?.addEventListener('abort', stopped, { once: true })
  return {
    /** From now on a change is not missed; without the directory of the record the next tick looks again. */
    listen(): void {
      ring = new AbortController()
      if (unwatch !== undefined) return
      try {
        unwatch = record.watch(() => ring.abort())
      } catch (error) {
        if ((error as { code?: unknown }).code !== 'ENOENT') throw error
      }
    },
    next: (clock: Clock, ms: number): Promise<void> => clock.sleep(Math.max(1, ms), ring.signal),
    close,
  }
}
