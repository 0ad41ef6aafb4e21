import path from 'node:path'
import type { MachineConfig } from './config/load-config.ts'
import { wantsTraces } from './config/telemetry.ts'
import { openOutbox } from './emit/outbox.ts'
import { pendingDirectory } from './emit/pending.ts'
import type { Recorder } from './emit/recorder.ts'
import { DELIVERED, readLost, readSpans } from './emit/segments.ts'
import type { StartupRecord } from './emit/startup-record.ts'
import { messageOf } from './errors.ts'
import type { Files, Manager } from './host/ports.ts'
import type { MachineHost } from './machine-host.ts'
import { type MachinePlan, TELEMETRY_DIRECTORY } from './plan/plan.ts'
import { followPrevious, keepPhase } from './previous.ts'
import { outboxDirectory } from './render/unit-values.ts'
import { retell } from './resume.ts'

const AGENT = 'comfy-agent'
const DELIVERY = 'comfy-telemetry.path'
const DELIVERING = 'comfy-telemetry.service'
/** The outbox of the controller. */
const OWN = path.join(TELEMETRY_DIRECTORY, 'controller')

/** What is known of a startup when its trace is to be kept. */
interface Beginning {
  /** An earlier controller of this startup died. */
  readonly isResumed: boolean
  /** It had begun the trace by then. */
  readonly isBegun: boolean
  readonly previous: StartupRecord | undefined
}

/** Begins the trace of a startup, or goes on with the one that an earlier controller has begun. */
export async function keepTrace(
  host: MachineHost,
  recorder: Recorder,
  { isResumed, isBegun, previous }: Beginning,
  isFirst: boolean,
): Promise<void> {
  try {
    const known = isResumed ? await readKnownSpans(host.files, recorder.machine.state.traceId) : new Set<string>()
    recorder.know(known)
    if (isResumed) retell(recorder, known)
    if (!isBegun) await followPrevious(host.files, recorder, previous)
    await openTrace(host, recorder)
    if (!isBegun) await keepPhase(host.files, recorder, isFirst)
  } catch (error) {
    recorder.warn(`the trace of this start is not kept: ${messageOf(error)}`)
  }
}

/** Keeps the spans of a startup from its first moment on. */
async function openTrace(host: MachineHost, recorder: Recorder): Promise<void> {
  const { files } = host
  for (const directory of [TELEMETRY_DIRECTORY, OWN]) await files.makeDirectory(directory, 0o755)
  for (const directory of [path.join(TELEMETRY_DIRECTORY, DELIVERED), pendingDirectory(TELEMETRY_DIRECTORY)])
    await makeForAgent(files, directory)
  for (const directory of [TELEMETRY_DIRECTORY, OWN, path.join(TELEMETRY_DIRECTORY, DELIVERED)])
    await removeUnfinished(files, directory)
  recorder.note({ lostSpans: await readLost(files, OWN) })
  const onLost = (count: number): void => {
    recorder.note({ lostSpans: recorder.machine.state.lostSpans + count })
    recorder.warn(`${count} spans were given up undelivered, the oldest first: there is no room for more`)
  }
  recorder.keepSpans(openOutbox(files, OWN, { durable: true, onLost }))
}

/** Ids of the spans of a trace that are on record. */
async function readKnownSpans(files: Files, traceId: string): Promise<ReadonlySet<string>> {
  const spans = await readSpans(files, TELEMETRY_DIRECTORY, traceId)
  return new Set(spans.filter((span) => span.traceId === traceId).map(({ spanId }) => spanId))
}

/** Gives every worker of a plan an outbox of its own. */
export async function openWorkerOutboxes(host: MachineHost, plan: MachinePlan): Promise<void> {
  await Promise.all(plan.workers.map(({ gpu }) => makeForAgent(host.files, outboxDirectory(gpu))))
}

/** Has systemd deliver what is recorded, from now on, when a collector is configured. Nobody waits for it. */
export async function startDelivery(recorder: Recorder, config: MachineConfig, manager: Manager): Promise<void> {
  const settings = { ...config.environment, ...Object.fromEntries(config.secrets) }
  if (!wantsTraces(settings)) return
  // One that still waits for more has the settings of the start before.
  await manager
    .stopAndWait(DELIVERING)
    .catch((error: unknown) => recorder.warn(`the delivery keeps its old settings: ${messageOf(error)}`))
  await requestDelivery(recorder, manager)
}

/** As startDelivery, where the configuration cannot be known: the delivery itself looks for a collector. */
export async function requestDelivery(recorder: Recorder, manager: Manager): Promise<void> {
  await manager
    .start(DELIVERY)
    .catch((error: unknown) => recorder.warn(`the trace is not delivered yet: ${messageOf(error)}`))
}

// Who is killed while it replaces a file leaves the new one under its temporary name.
async function removeUnfinished(files: Files, directory: string): Promise<void> {
  for (const name of await files.list(directory)) {
    const pid = /^\..+\.([0-9]+)\.[0-9]+\.tmp$/.exec(name)?.[1]
    const isOver = pid !== undefined && (await files.stat(`/proc/${pid}`)) === undefined
    if (isOver) await files.remove(path.join(directory, name))
  }
}

async function makeForAgent(files: Files, directory: string): Promise<void> {
  await files.makeDirectory(directory, 0o755)
  await files.chown(directory, AGENT)
}
