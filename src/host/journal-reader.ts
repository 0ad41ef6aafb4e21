import type { Exec } from './ports.ts'

/** A stretch of what one unit wrote; times in microseconds since the epoch. */
export interface Stretch {
  readonly unit: string
  readonly fromUs: number
  readonly untilUs: number
}

const JOURNALCTL = '/usr/bin/journalctl'
const LIMIT_MS = 2_000
const LONGEST_LINE = 500
// What a process writes is noted when the journal reads it, which may be after systemd has seen the process end.
const GRACE_US = 200_000

/**
 * The last lines that a unit's processes wrote to the journal in a stretch of time, oldest first; what systemd itself says
 * of the unit is not among them. By time and not by invocation: after a restart with RestartMode=direct the journal goes
 * on under the id of the first invocation (systemd 257). Empty when the journal does not answer within two seconds.
 */
export async function readLastLines(exec: Exec, stretch: Stretch, count: number): Promise<readonly string[]> {
  // What a process wrote just before its end may still be on its way, journalctl(1) --sync.
  await exec.run([JOURNALCTL, '--sync'], { timeoutMs: LIMIT_MS })
  const { unit, fromUs, untilUs } = stretch
  const range = [`--since=${toTime(fromUs)}`, `--until=${toTime(untilUs + GRACE_US)}`]
  const { code, stdout } = await exec.run(
    [JOURNALCTL, '--quiet', '--no-pager', '--output=cat', ...range, `--lines=${count}`, `_SYSTEMD_UNIT=${unit}`],
    { timeoutMs: LIMIT_MS },
  )
  if (code !== 0) return []
  return stdout.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.slice(0, LONGEST_LINE)]))
}

/** A time as systemd.time(7) reads it: seconds since the epoch. */
const toTime = (us: number): string => `@${Math.floor(us / 1e6)}.${String(us % 1e6).padStart(6, '0')}`
