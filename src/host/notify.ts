import { listenFds, sendDatagram } from './listen-fds.ts'
import type { Notify } from './ports.ts'

const STATUS_BYTES = 4096

/** sd_notify(3) over the descriptor that OpenFile= named `notify`; without it every call does nothing. */
export function openNotify(env: NodeJS.ProcessEnv = process.env, pid = process.pid): Notify {
  const fd = listenFds(env, pid).get('notify')
  const send = (text: string): void => {
    if (fd !== undefined) sendDatagram(fd, text)
  }
  return {
    ready: () => send('READY=1'),
    stopping: () => send('STOPPING=1'),
    status: (text) => send(`STATUS=${oneLine(text)}`),
    extend: (ms) => send(`EXTEND_TIMEOUT_USEC=${Math.round(ms * 1000)}`),
    watchdog: () => send('WATCHDOG=1'),
  }
}

function oneLine(text: string): string {
  const flat = text.replace(/[\r\n]+/g, ' ')
  if (Buffer.byteLength(flat) <= STATUS_BYTES) return flat
  return Buffer.from(flat)
    .subarray(0, STATUS_BYTES)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')
}
