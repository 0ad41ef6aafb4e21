import { formatBytes } from '../emit/bytes.ts'
import { MachineError, messageOf } from '../errors.ts'
import { type BlobServer, serveBlobs } from '../host/blob-server.ts'
import { systemFiles } from '../host/files.ts'
import { inheritedSocket } from '../host/http-server.ts'
import { openJournal } from '../host/journal.ts'
import { openNotify } from '../host/notify.ts'
import { stopSignal } from '../host/signals.ts'
import { storeOf } from '../plan/places.ts'
import { SHARE_SOCKET } from '../plan/plan.ts'
import { readPlan } from './read-plan.ts'

const IDLE_S = 300
const STATUS_MS = 2_000

/** What `comfy-machine share` may be told. */
export interface ShareOptions {
  /** Seconds without a connection after which it ends; default 300. */
  readonly idleS?: number
}

/**
 * `comfy-machine share`, run by comfy-share-models.service: gives the contents of the store to whoever asks on the socket of
 * comfy-share-models.socket, until nobody is connected any more or it is asked to stop; resolves to the exit code.
 */
export async function shareCommand({ idleS = IDLE_S }: ShareOptions = {}): Promise<number> {
  const signal = stopSignal()
  const journal = openJournal()
  const notify = openNotify()
  const fd = inheritedSocket(SHARE_SOCKET)
  if (fd === undefined) throw new MachineError('CM0002', `no socket named ${SHARE_SOCKET} was passed`)
  const { paths } = await readPlan(systemFiles, process.env)
  let failures = 0
  const failed = (error: unknown): void => {
    failures += 1
    // One tells what is wrong, and others may ask very often.
    if (failures > 1) return
    journal.write({
      message: `a model could not be read for another machine: ${messageOf(error)}`,
      priority: 'warning',
    })
  }
  const server = await serveBlobs({ blobs: storeOf(paths.models).blobs, where: { fd }, idleMs: idleS * 1000, failed })
  notify.ready()
  journal.write({ message: `gives the models of ${paths.models} to other machines`, priority: 'info' })
  const status = setInterval(() => notify.status(statusOf(server)), STATUS_MS)
  notify.status(statusOf(server))
  const stopped = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  if (!signal.aborted) await Promise.race([server.idle, stopped])
  clearInterval(status)
  notify.stopping()
  await server.close()
  journal.write({ message: endOf(server, failures), priority: 'info' })
  return 0
}

function statusOf(server: BlobServer): string {
  const { connections, bytes } = server.counts()
  return `connections: ${connections}, sent: ${formatBytes(bytes)}`
}

function endOf(server: BlobServer, failures: number): string {
  const { requests, bytes } = server.counts()
  const ending = failures === 0 ? '' : `, failed: ${failures}`
  return `ends; requests for models: ${requests}, sent: ${formatBytes(bytes)}${ending}`
}
