import path from 'node:path'
import type { WorkerActivity } from '../emit/hub-message.ts'
import { HubPublisher } from '../emit/hub-publisher.ts'
import { Recorder } from '../emit/recorder.ts'
import type { StartupRecord } from '../emit/startup-record.ts'
import { messageOf } from '../errors.ts'
import { redact } from '../health/redact.ts'
import { openControllerHost } from '../host/controller-host.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import { hostName } from '../host/host-attributes.ts'
import { readIdentity } from '../host/identity.ts'
import { readLastLines } from '../host/journal-reader.ts'
import type { Manager } from '../host/ports.ts'
import type { MachineHost } from '../machine-host.ts'
import { type Identity, newMachine } from '../observe/machine.ts'
import type { MachineState } from '../observe/state.ts'
import { RUN_DIRECTORY } from '../plan/plan.ts'
import { followPrevious, keepStartup, readPrevious } from '../previous.ts'
import { reportDirectory } from '../render/unit-values.ts'
import { readUnfinished, retell, type Unfinished } from '../resume.ts'
import { openTrace, readKnownSpans } from '../trace.ts'
import { VERSION } from '../version.ts'
import { WORKER_STATUS_FILE } from '../worker/status.ts'
import { readResource } from './read-resource.ts'

/** Lines of a failed unit's journal that its failure carries. */
const LAST_LINES = 10

/** The controller's process: its host, what it tells, and what an earlier one left it. */
export interface Controller {
  readonly host: MachineHost
  readonly recorder: Recorder
  readonly publisher: HubPublisher
  readonly unfinished: Unfinished | undefined
  /** No start before this one since the host was booted. */
  readonly isFirst: boolean
  /** Resolves when the trace is kept; nothing waits for it but its own end. */
  readonly tracing: Promise<void>
  manager: Manager | undefined
  /** Values that no line of a journal may carry into a trace. */
  secrets: readonly string[]
}

/** Opens the host of the controller and begins, or carries on, the record of its startup. */
export async function openController(signal: AbortSignal): Promise<Controller> {
  const identity = await readIdentity(systemFiles)
  const own: Identity = {
    machineId: identity.machineId ?? 'unknown',
    version: VERSION,
    traceId: process.env['INVOCATION_ID'] ?? crypto.randomUUID().replaceAll('-', ''),
    bootId: identity.bootId ?? '',
    agentPid: process.pid,
    startedUs: Math.round((performance.timeOrigin - 1) * 1000),
    startedMonoUs: Number(process.hrtime.bigint() / 1000n) - Math.round((performance.now() + 1) * 1000),
  }
  const stateFile = path.join(RUN_DIRECTORY, 'state.json')
  const isFirstState = (await systemFiles.stat(stateFile)) === undefined
  const unfinished = await readUnfinished(systemFiles, RUN_DIRECTORY, own)
  const previous = await readPrevious(systemFiles)
  const isSame = previous?.traceId === unfinished?.machine.state.traceId
  const isFirst = unfinished === undefined ? isFirstState : isSame && previous?.isFirst === true
  const resource = await readResource(systemFiles, VERSION)
  const publisher = new HubPublisher({
    state: () => recorder.machine.state,
    readActivity,
    nowUs: () => host.clock.nowUs(),
    hostName: hostName(),
  })
  const host = openControllerHost({
    identity,
    signal,
    isFirstStart: isFirst,
    tellHub: (updateType) => publisher.tell(updateType),
  })
  const readLines = async (invocationId: string): Promise<readonly string[]> => {
    const lines = await readLastLines(systemExec, invocationId, LAST_LINES)
    return lines.map((line) => redact(line, controller.secrets))
  }
  const recorder = new Recorder({ ...host, stateFile, resource, readLines }, unfinished?.machine ?? newMachine(own))
  const controller: Controller = {
    recorder,
    publisher,
    unfinished,
    isFirst,
    tracing: keepTrace(host, recorder, unfinished === undefined ? { previous } : undefined, isFirst),
    manager: undefined,
    secrets: [],
    host: {
      ...host,
      connectManager: async () => {
        controller.manager = await host.connectManager()
        return controller.manager
      },
    },
  }
  return controller
}

/** Begins the trace of a new startup, or goes on with the one of an unfinished one. */
async function keepTrace(
  host: MachineHost,
  recorder: Recorder,
  fresh: { readonly previous: StartupRecord | undefined } | undefined,
  isFirst: boolean,
): Promise<void> {
  try {
    const known =
      fresh === undefined ? await readKnownSpans(host.files, recorder.machine.state.traceId) : new Set<string>()
    recorder.know(known)
    if (fresh === undefined) retell(recorder, known)
    else await followPrevious(host.files, recorder, fresh.previous)
    await openTrace(host, recorder)
    if (fresh !== undefined) await keepStartup(host.files, recorder, isFirst)
  } catch (error) {
    recorder.warn(`the trace of this start is not kept: ${messageOf(error)}`)
  }
}

async function readActivity(state: MachineState): Promise<ReadonlyMap<string, WorkerActivity>> {
  const read = async (id: string, unit: string): Promise<readonly [string, WorkerActivity] | undefined> => {
    const text = await systemFiles.readForeign(path.join(RUN_DIRECTORY, reportDirectory(unit), WORKER_STATUS_FILE))
    return text === undefined ? undefined : [id, JSON.parse(text) as WorkerActivity]
  }
  const entries = await Promise.all(state.workers.map(({ id, unit }) => read(id, unit)))
  return new Map(entries.filter((entry) => entry !== undefined))
}
