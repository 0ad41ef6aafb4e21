import path from 'node:path'
import type { WorkerActivity } from '../emit/hub-message.ts'
import { HubPublisher } from '../emit/hub-publisher.ts'
import type { ReadLines } from '../emit/last-lines.ts'
import { Recorder } from '../emit/recorder.ts'
import { redact } from '../health/redact.ts'
import { systemClock } from '../host/clock.ts'
import { openControllerHost } from '../host/controller-host.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import { hostName } from '../host/host-attributes.ts'
import { readIdentity } from '../host/identity.ts'
import { readLastLines } from '../host/journal-reader.ts'
import type { Manager } from '../host/ports.ts'
import { wasRestarted } from '../host/restarted.ts'
import type { MachineHost } from '../machine-host.ts'
import { type Identity, newMachine } from '../observe/machine.ts'
import type { MachineState } from '../observe/state.ts'
import { RUN_DIRECTORY } from '../plan/plan.ts'
import { readPrevious } from '../previous.ts'
import { reportDirectory } from '../render/unit-values.ts'
import { readUnfinished, type Unfinished } from '../resume.ts'
import { keepTrace } from '../trace.ts'
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
  const left = await readUnfinished(systemFiles, RUN_DIRECTORY, own)
  const unfinished = left !== undefined && (await wasRestarted(systemFiles, systemExec, systemClock)) ? left : undefined
  const previous = await readPrevious(systemFiles)
  const isSame = unfinished !== undefined && previous?.traceId === unfinished.machine.state.traceId
  // The record on disk is that of the startup before until this one's trace is begun.
  const isFirstOfBoot = isSame ? previous?.isFirst === true : previous?.bootId !== own.bootId
  const isFirst = unfinished === undefined ? isFirstState : isFirstOfBoot
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
  const readLines: ReadLines = async (stretch) => {
    const lines = await readLastLines(systemExec, stretch, LAST_LINES)
    return lines.map((line) => redact(line, controller.secrets))
  }
  const recorder = new Recorder({ ...host, stateFile, resource, readLines }, unfinished?.machine ?? newMachine(own))
  const controller: Controller = {
    recorder,
    publisher,
    unfinished,
    isFirst,
    tracing: keepTrace(host, recorder, { isResumed: unfinished !== undefined, isBegun: isSame, previous }, isFirst),
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

async function readActivity(state: MachineState): Promise<ReadonlyMap<string, WorkerActivity>> {
  const read = async (id: string, unit: string): Promise<readonly [string, WorkerActivity] | undefined> => {
    const text = await systemFiles.readForeign(path.join(RUN_DIRECTORY, reportDirectory(unit), WORKER_STATUS_FILE))
    return text === undefined ? undefined : [id, JSON.parse(text) as WorkerActivity]
  }
  const entries = await Promise.all(state.workers.map(({ id, unit }) => read(id, unit)))
  return new Map(entries.filter((entry) => entry !== undefined))
}
