import { MachineError, messageOf } from '../errors.ts'
import type { Clock, ComfyUI } from '../host/ports.ts'

const FIRST_PAUSE_MS = 25
const LAST_PAUSE_MS = 500
const SIGN_EVERY_MS = 1000
/** A ComfyUI that works but never answers is given up after this many times the limit. */
const BUSY_FACTOR = 4
/** CPU time that counts as a sign of life, ms. */
const SIGN_CPU_MS = 50

/** What the wait for ComfyUI's first answer needs. */
export interface StartPorts {
  readonly comfyui: Pick<ComfyUI, 'systemStats'>
  readonly clock: Clock
  /** CPU time that ComfyUI's process has used, ms; undefined when it is not known. */
  readonly cpuMs: () => Promise<number | undefined>
  /** Whether ComfyUI's process is still there. */
  readonly isAlive: () => Promise<boolean>
  /** Called about once a second while ComfyUI lives but does not answer. */
  readonly onWaiting: () => void
  readonly stop: AbortSignal
}

/** ComfyUI ended before it answered; how it ended, systemd tells. */
export class ComfyUIEnded extends Error {}

/**
 * Asks ComfyUI until it answers; the answer of `/system_stats`, or undefined when `stop` aborted. Throws ComfyUIEnded.
 * Throws CM1901 after `limitMs` without a sign of life, that is an answer or CPU time used, or four times that in all.
 */
export async function awaitStart(ports: StartPorts, limitMs: number): Promise<unknown> {
  const { comfyui, clock, cpuMs, stop } = ports
  const startUs = clock.nowUs()
  let lifeUs = startUs
  let lookedUs = startUs
  let usedMs = await cpuMs()
  let pauseMs = FIRST_PAUSE_MS
  for (;;) {
    const answer = await comfyui.systemStats().then(
      (stats) => ({ stats }),
      (error: unknown) => messageOf(error),
    )
    if (stop.aborted) return undefined
    if (typeof answer !== 'string') return answer.stats
    if (!(await ports.isAlive())) throw new ComfyUIEnded(answer)
    if (clock.nowUs() - lookedUs >= SIGN_EVERY_MS * 1000) {
      lookedUs = clock.nowUs()
      const nowMs = await cpuMs()
      if (nowMs !== undefined && nowMs - (usedMs ?? 0) >= SIGN_CPU_MS) {
        usedMs = nowMs
        lifeUs = lookedUs
      }
      ports.onWaiting()
    }
    const silentMs = (clock.nowUs() - lifeUs) / 1000
    const totalMs = (clock.nowUs() - startUs) / 1000
    if (silentMs >= limitMs) throw late(silentMs, 'no answer and no sign of life', answer)
    if (totalMs >= limitMs * BUSY_FACTOR) throw late(totalMs, 'it works but does not answer', answer)
    await clock.sleep(Math.min(pauseMs, Math.max(1, limitMs - silentMs)), stop)
    pauseMs = Math.min(pauseMs * 1.5, LAST_PAUSE_MS)
  }
}

/** Whether a process of this `/proc/PID/stat` runs; one that is gone has none, one that has ended is a zombie. */
export function isRunning(stat: string | undefined): boolean {
  return stat !== undefined && !/^[ZX] /.test(stat.slice(stat.lastIndexOf(')') + 2))
}

/** CPU time of a process and the children it has waited for, from its `/proc/PID/stat` (proc_pid_stat(5)), ms. */
export function parseCpuMs(stat: string): number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = [11, 12, 13, 14].reduce((sum, index) => sum + Number(fields[index] ?? 0), 0)
  return ticks * 10
}

function late(ms: number, what: string, reason: string): MachineError {
  return new MachineError('CM1901', `${what} for ${Math.round(ms / 1000)} s: ${reason}`)
}
