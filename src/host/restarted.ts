import type { Clock, Exec, Files } from './ports.ts'

/** What comfy-machine-revive.service leaves when it starts a killed controller again. */
const MARK = '/run/comfy-machine/revived'
const MARK_MS = 60_000
const LIMIT_MS = 5_000

/**
 * Tells whether this process was started because the one before it died: by comfy-machine-revive.service, or by Restart=
 * (NRestarts, org.freedesktop.systemd1(5)). One that a person, a boot or an upgrade asked for begins a new startup, also
 * where systemd stopped the machine between the death and the restart, of which nobody hears.
 */
export async function wasRestarted(files: Files, exec: Exec, clock: Clock): Promise<boolean> {
  const mark = await files.lstat(MARK)
  await files.remove(MARK)
  if (mark !== undefined && clock.nowUs() / 1000 - mark.mtimeMs < MARK_MS) return true
  const show = ['/usr/bin/systemctl', 'show', '--property=NRestarts', '--value', 'comfy-machine.service'] as const
  const { stdout } = await exec.run([...show], { timeoutMs: LIMIT_MS })
  return Number(stdout) > 0
}
