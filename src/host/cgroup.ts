import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

const PAUSE_MS = 2

/**
 * Kills every other process of this process's control group (cgroups(7), version 2) and waits until they are gone, at most
 * `limitMs`. False when some are left or the group cannot be read: systemd ends those with the unit.
 */
export async function killGroupMembers(limitMs: number): Promise<boolean> {
  const file = membersFile()
  const until = Date.now() + limitMs
  while (file !== undefined) {
    const others = readMembers(file)?.filter((pid) => pid !== process.pid)
    if (others === undefined) return false
    if (others.length === 0) return true
    others.forEach(kill)
    if (Date.now() > until) return false
    await sleep(PAUSE_MS)
  }
  return false
}

function membersFile(): string | undefined {
  const path = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1]
  return path === undefined ? undefined : `/sys/fs/cgroup${path}/cgroup.procs`
}

function readMembers(file: string): readonly number[] | undefined {
  try {
    return readFileSync(file, 'utf8').split('\n').filter(Boolean).map(Number)
  } catch {
    return undefined
  }
}

function kill(pid: number): void {
  try {
    // 0 stands for one that cannot be named from here, and would mean this process's own group.
    if (pid > 0) process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
