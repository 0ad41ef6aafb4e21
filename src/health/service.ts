import type { Clock, HttpHandler, HttpListen, HttpServer } from '../host/ports.ts'
import { diffSightings, snapshotEvent } from './changes.ts'
import { type Measures, NO_MEASURES } from './measures.ts'
import type { Sighting, StateRecord } from './record.ts'
import { answerRequest, EVENTS_PATH, METRICS_PATH } from './routes.ts'

/** What the health server needs of the outside. */
export interface HealthPorts {
  readonly record: StateRecord
  readonly clock: Clock
  /** What is measured outside the record of the state. */
  measure(state: Sighting['state']): Promise<Measures>
  serve(handler: HttpHandler, where: HttpListen): Promise<HttpServer>
  /** Told of anything that failed while serving; the server goes on. */
  failed(error: unknown): void
}

/** Serves the health endpoints from the record of the state until `close`; the record is read only for those who ask. */
export async function serveHealth(ports: HealthPorts, where: HttpListen): Promise<HttpServer> {
  const { record, clock } = ports
  let server: HttpServer | undefined
  let last: Sighting = { alive: false }
  let unwatch: (() => void) | undefined
  let turn: Promise<void> = Promise.resolve()
  const look = async (): Promise<void> => {
    const now = await record.look()
    server?.broadcast(diffSightings(last, now, clock.nowUs()))
    last = now
  }
  const refresh = (): Promise<void> => {
    turn = turn.then(look, look)
    return turn
  }
  const refreshForReaders = (): void => {
    if (server !== undefined && server.readers() > 0) refresh().catch(ports.failed)
  }
  const watch = (): void => {
    unwatch?.()
    unwatch = undefined
    try {
      unwatch = record.watch(refreshForReaders)
    } catch (error) {
      if ((error as { code?: unknown }).code !== 'ENOENT') throw error
    }
  }
  const handler: HttpHandler = {
    eventsPath: EVENTS_PATH,
    async answer(request) {
      const sighting = await record.look()
      const measures = request.path === METRICS_PATH ? await ports.measure(sighting.state) : NO_MEASURES
      return answerRequest(request, sighting, clock.nowUs(), measures)
    },
    async prepare() {
      watch()
      await refresh()
    },
    greet: () => [snapshotEvent(last, clock.nowUs())],
    beat() {
      watch()
      refreshForReaders()
    },
    failed: ports.failed,
  }
  const running = await ports.serve(handler, where)
  server = running
  return {
    ...running,
    async close() {
      unwatch?.()
      await running.close()
    },
  }
}
