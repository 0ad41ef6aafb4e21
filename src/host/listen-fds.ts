import { writeSync } from 'node:fs'

const FIRST_FD = 3

/** File descriptors that systemd opened for this very process, by the name of OpenFile= or FileDescriptorName= (sd_listen_fds(3)). */
export function listenFds(env: NodeJS.ProcessEnv, pid: number): ReadonlyMap<string, number> {
  const fds = new Map<string, number>()
  if (env['LISTEN_PID'] !== String(pid)) return fds
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':')
  const count = Number(env['LISTEN_FDS'] ?? 0)
  for (let i = 0; i < count; i++) fds.set(names[i] ?? `fd${i}`, FIRST_FD + i)
  return fds
}

/** Sends one datagram; false when the receiver is gone or does not take it. */
export function sendDatagram(fd: number, data: string | Uint8Array): boolean {
  try {
    if (typeof data === 'string') writeSync(fd, data)
    else writeSync(fd, data)
    return true
  } catch {
    return false
  }
}
