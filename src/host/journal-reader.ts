import type { Exec } from './ports.ts'

const LIMIT_MS = 2_000
const LONGEST_LINE = 500

/**
 * The last lines that a unit's processes wrote to the journal during one invocation, oldest first; what systemd itself
 * says of the unit is not among them. Empty when the journal does not answer within two seconds.
 */
export async function readLastLines(exec: Exec, invocationId: string, count: number): Promise<readonly string[]> {
  // What a process wrote just before its end may still be on its way, journalctl(1) --sync.
  await exec.run(['journalctl', '--sync'], { timeoutMs: LIMIT_MS })
  const match = `_SYSTEMD_INVOCATION_ID=${invocationId}`
  const { code, stdout } = await exec.run(
    ['journalctl', '--boot', '--quiet', '--no-pager', '--output=cat', `--lines=${count}`, match],
    { timeoutMs: LIMIT_MS },
  )
  if (code !== 0) return []
  return stdout.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.slice(0, LONGEST_LINE)]))
}
