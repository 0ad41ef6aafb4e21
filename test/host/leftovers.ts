import { existsSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Folder of the mount points, empty for everyone but the hosts themselves; entries are named `<pid of the owner>-<id>`. */
export const hostsRoot = path.join(tmpdir(), 'comfy-machine-hosts')

/** Where control groups of the unified hierarchy are made; those of hosts are named `comfy-host-<pid of the owner>-<id>`. */
export const cgroupRoot = existsSync('/sys/fs/cgroup/cgroup.controllers') ? '/sys/fs/cgroup' : '/sys/fs/cgroup/unified'

/** Removes the folder and the control group of a host that has ended; waits a second for its last process. */
export async function removeLeftovers(folder: string, cgroup: string): Promise<void> {
  for (let tries = 0; tries < 50; tries += 1) {
    if (removeCgroup(cgroup)) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  rmSync(folder, { recursive: true, force: true })
}

/** Removes a control group with all below it; false while a process is still in one of them. */
function removeCgroup(cgroup: string): boolean {
  if (!existsSync(cgroup)) return true
  const below = readdirSync(cgroup).filter((name) => statSync(path.join(cgroup, name)).isDirectory())
  if (!below.every((name) => removeCgroup(path.join(cgroup, name)))) return false
  try {
    rmdirSync(cgroup)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EBUSY') return false
    throw error
  }
}

/** Removes the empty folders and control groups of hosts whose owner has died; their mounts went with them. */
export function removeStaleHosts(): void {
  const dead = (name: string): boolean => {
    const owner = /(?:^|-)(\d+)-[0-9a-f]{6}$/.exec(name)?.[1]
    return owner !== undefined && !existsSync(`/proc/${owner}`)
  }
  for (const name of existsSync(hostsRoot) ? readdirSync(hostsRoot).filter(dead) : []) {
    rmSync(path.join(hostsRoot, name), { recursive: true, force: true })
  }
  for (const name of readdirSync(cgroupRoot).filter((entry) => entry.startsWith('comfy-host-') && dead(entry))) {
    removeCgroup(path.join(cgroupRoot, name))
  }
}
