import { join } from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import { openComfyUI } from '../host/comfyui-client.ts'
import { openComfySocket } from '../host/comfyui-socket.ts'
import { openJournal } from '../host/journal.ts'
import type { Clock, ComfySocket, ComfyUI } from '../host/ports.ts'
import { openJobSource } from '../host/queue.ts'
import { randomId } from '../host/random-id.ts'
import { connectRedis } from '../host/redis.ts'
import { secondStopSignal } from '../host/signals.ts'
import { openUnitHost, type UnitHost } from '../host/unit-process.ts'
import type { MachinePlan, PlannedWorker } from '../plan/plan.ts'
import { readPendingModels } from '../worker/pending-models.ts'
import { serve } from '../worker/serve.ts'
import { toWorkerStatus, WORKER_STATUS_FILE, type WorkerStatus } from '../worker/status.ts'
import { readPlan } from './read-plan.ts'
import { reportUnitFailure } from './unit-failure.ts'
import { unitFields } from './unit-fields.ts'
import { openWorkerBook } from './worker-book.ts'

const REDIS_MS = 8000
const COMFYUI_MS = 10_000
const PAUSE_MS = 50

/**
 * `comfy-machine worker gpuN`, redis-worker@gpuN.service: takes jobs for one ComfyUI until it is told to stop.
 * Exit codes: 0 stopped, 75 Redis unreachable, 78 refused by Redis or configured wrongly, 1 otherwise.
 */
export async function workerCommand(gpu: string): Promise<number> {
  let host = openUnitHost(unitFields(20, process.env, { gpu }))
  const hurry = secondStopSignal()
  try {
    const plan = await readPlan(host.files, host.env)
    host = { ...host, journal: openJournal({ fields: unitFields(20, host.env, { gpu, plan }) }) }
    await work(host, plan, gpu, hurry)
    return 0
  } catch (error) {
    return reportUnitFailure(host, error)
  }
}

async function work(host: UnitHost, plan: MachinePlan, gpu: string, hurry: AbortSignal): Promise<void> {
  const { clock, journal, notify, signal } = host
  const planned = plan.workers.find((each) => each.gpu === gpu)
  if (planned === undefined) throw new MachineError('CM0002', `the plan has no worker for ${gpu}`)
  const redisUrl = host.secrets.read('HUB_REDIS_URL') ?? plan.environment['HUB_REDIS_URL']
  if (redisUrl === undefined) throw new MachineError('CM0301', 'HUB_REDIS_URL')

  const comfyui = openComfyUI(planned.comfyuiUrl)
  const socket = openComfySocket(planned.comfyuiUrl, planned.id)
  try {
    notify.status('connecting to Redis and ComfyUI')
    const warn = (message: string): void => journal.write({ message, priority: 'warning' })
    const [redis, book] = await Promise.all([
      both(connectRedis(redisUrl, REDIS_MS), awaitComfyUI(planned, comfyui, socket, clock)),
      openWorkerBook(host, plan, planned),
    ])
    const source = await openJobSource(redis, planned.id, planned.queues, warn)
    host.report.write({ kind: 'fact', attributes: evidenceOf(planned) })
    const keepStatus = (status: WorkerStatus): void => void keep(host, status)
    // Kept before READY=1: the hub is told of a connected worker as soon as the unit is active.
    const connected = {
      hasRedis: true,
      hasComfyUI: true,
      jobId: null,
      lastActivityUs: clock.nowUs(),
      isDraining: false,
    }
    await keep(host, toWorkerStatus(connected))
    const { id: clientId, queues } = planned
    await serve({
      ...{ comfyui, socket, clock, journal, clientId, source, notify, queues, keepStatus },
      pendingModels: () => readPendingModels(host.files, plan.paths, gpu),
      ...{ account: book.account, newId: randomId, stop: signal, hurry },
    })
    await Promise.all([source.close(), book.flush()])
  } finally {
    socket.close()
    comfyui.close()
  }
}

/** The first one's value when both succeed; the first failure otherwise, with the connection that came too late closed. */
async function both<T extends { disconnect(): void }>(first: Promise<T>, second: Promise<void>): Promise<T> {
  try {
    const [value] = await Promise.all([first, second])
    return value
  } catch (error) {
    first.then(
      (late) => late.disconnect(),
      () => undefined,
    )
    throw error
  }
}

async function awaitComfyUI(planned: PlannedWorker, comfyui: ComfyUI, socket: ComfySocket, clock: Clock) {
  const startUs = clock.nowUs()
  for (;;) {
    const reason = await comfyui.systemStats().then(
      () => (socket.isUp() ? undefined : 'its WebSocket is not open'),
      (error: unknown) => messageOf(error),
    )
    if (reason === undefined) return
    if (clock.nowUs() - startUs > COMFYUI_MS * 1000) {
      throw new MachineError('CM2003', `${planned.comfyuiUrl}: ${reason}`)
    }
    await clock.sleep(PAUSE_MS)
  }
}

function evidenceOf(planned: PlannedWorker) {
  return { 'worker.id': planned.id, 'worker.queues': planned.queues.join(','), 'comfyui.url': planned.comfyuiUrl }
}

async function keep({ env, files, journal }: UnitHost, status: WorkerStatus): Promise<void> {
  const directory = env['RUNTIME_DIRECTORY']?.split(':')[0]
  if (directory === undefined || directory === '') return
  await files.writeText(join(directory, WORKER_STATUS_FILE), `${JSON.stringify(status)}\n`).catch((error: unknown) => {
    journal.write({ message: `the status could not be kept: ${messageOf(error)}`, priority: 'warning' })
  })
}
