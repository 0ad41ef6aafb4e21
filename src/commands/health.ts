import { MachineError, toMachineError } from '../errors.ts'
import { readMeasures } from '../health/measures.ts'
import { openRecord, type Sighting } from '../health/record.ts'
import { serveHealth } from '../health/service.ts'
import { inheritedSocket, serveHttp } from '../host/http-server.ts'
import type { HttpListen } from '../host/ports.ts'
import { openUnitHost } from '../host/unit-process.ts'
import { unitFields } from './unit-fields.ts'

/** Name of the socket among the descriptors that systemd passes, sd_listen_fds_with_names(3). */
const SOCKET_NAME = 'comfy-health.socket'

/** What `comfy-machine health` may be told. */
export interface HealthOptions {
  /** Listen on this port of the loopback instead of the socket of comfy-health.socket. */
  readonly port?: number
}

/** `comfy-machine health`: serves the state of the machine over HTTP until it is asked to stop; resolves to the exit code. */
export async function healthCommand(options: HealthOptions = {}): Promise<number> {
  const host = openUnitHost(unitFields(12, process.env))
  const failed = (error: unknown): void => {
    const { code, message } = toMachineError(error)
    host.journal.write({ message: `health: ${message}`, priority: 'warning', fields: { COMFY_ERROR_CODE: code } })
  }
  const record = openRecord(host.files, host.clock)
  const measure = (state: Sighting['state']) => readMeasures(host.files, state)
  const server = await serveHealth(
    { record, clock: host.clock, measure, serve: serveHttp, failed },
    whereToListen(options),
  )
  host.notify.ready()
  host.notify.status('serving')
  host.journal.write({ message: 'answers /health, /ready, /status, /metrics and /events', priority: 'info' })
  if (!host.signal.aborted) {
    await new Promise((resolve) => host.signal.addEventListener('abort', resolve, { once: true }))
  }
  host.notify.stopping()
  await server.close()
  return 0
}

function whereToListen(options: HealthOptions): HttpListen {
  if (options.port !== undefined) return { port: options.port, host: '127.0.0.1' }
  const fd = inheritedSocket(SOCKET_NAME)
  if (fd === undefined) {
    throw new MachineError('CM0002', `no socket named ${SOCKET_NAME} was passed; give --port to try the health server`)
  }
  return { fd }
}
