import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { has } from './command.ts'

/** Says in one sentence why host tests and the demo cannot run on this machine, or null when they can. Changes nothing. */
export function missingRequirement(): string | null {
  if (process.platform !== 'linux') return 'Host tests need Linux: they boot a Debian host with systemd in namespaces.'
  if (process.getuid?.() !== 0) return 'Host tests need root: they mount overlays and boot a host with systemd-nspawn.'
  if (!has('apt-get')) return 'Host tests need Debian or Ubuntu: they install their tools with apt-get.'
  const namespaces = spawnSync('/usr/bin/unshare', ['--mount', '--pid', '--net', '--uts', '--ipc', '--fork', 'true'])
  if (namespaces.status !== 0) {
    return 'Host tests need a machine that lets root make namespaces (unshare was refused): run the container with --privileged.'
  }
  const overlay = spawnSync('/usr/bin/unshare', [
    '--mount',
    '/bin/sh',
    '-ec',
    'mount -t tmpfs t /mnt; mkdir /mnt/a /mnt/u /mnt/w /mnt/m; mount -t overlay o -o lowerdir=/mnt/a,upperdir=/mnt/u,workdir=/mnt/w /mnt/m',
  ])
  if (overlay.status !== 0) return 'Host tests need tmpfs and overlayfs, and mounting them was refused on this machine.'
  if (!existsSync('/sys/fs/cgroup/cgroup.controllers') && !existsSync('/sys/fs/cgroup/unified/cgroup.procs')) {
    return 'Host tests need the unified cgroup hierarchy (cgroup v2) mounted at /sys/fs/cgroup or /sys/fs/cgroup/unified.'
  }
  return null
}
