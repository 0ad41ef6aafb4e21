import path from 'node:path'
import type { Recorder } from '../emit/recorder.ts'
import { definitionOf, messageOf, toMachineError } from '../errors.ts'
import { stopSignal } from '../host/signals.ts'
import type { MachineHost } from '../machine-host.ts'
import { enterPhase } from '../observe/fold-step.ts'
import { isDone } from '../observe/machine.ts'
import type { MachineState } from '../observe/state.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { keepPhase } from '../previous.ts'
import { secretsDirectory } from '../render/common-values.ts'
import { finishStartup, followUnits, StartFailure, startMachine, startUnits, untilSettled } from '../startup.ts'
import { endMachine, tendMachine } from '../tend.ts'
import { requestDelivery } from '../trace.ts'
import { type Controller, openController } from './controller.ts'

const TARGET = 'comfy-machine.target'
const STEP_OF_JOBS = 13
const WATCHDOG_MS = 20_000
// A unit that starts, or ends its job, has a deadline of its own; the controller only must not be the first to run out of time.
const EXTENSION_MS = 300_000
const EXIT_FAILED = 1
const EXIT_TRY_AGAIN = 75
const EXIT_CONFIG = 78

/**
 * `comfy-machine up`, the controller: starts the machine, says READY=1 at step 21 and tends it until it is told to stop.
 * Resolves to the exit code: 0 stopped, 1 failed, 75 failed for a reason that may pass, 78 configuration.
 */
export async function upCommand(): Promise<number> {
  const controller = await openController(stopSignal())
  const { host, recorder, publisher } = controller
  const heartbeat = setInterval(() => beat(host, recorder), WATCHDOG_MS)
  try {
    const { plan } = controller.unfinished ?? {}
    await (plan === undefined ? start(controller) : resume(controller, plan))
    return 0
  } catch (thrown) {
    return await giveUp(controller, thrown)
  } finally {
    clearInterval(heartbeat)
    await publisher.stop()
    await controller.manager?.close()
  }
}

async function start(controller: Controller): Promise<void> {
  const { host, recorder } = controller
  const { follower, manager } = await startMachine(host, recorder, async (config) => {
    controller.secrets = [...config.secrets.values()]
    await openHub(controller, config.secrets.get('HUB_REDIS_URL'))
  })
  await becomeReady(controller)
  await tendMachine(host, recorder)
  follower.stop()
  await endMachine(host, recorder, manager)
  await keepPhase(host.files, recorder, controller.isFirst)
}

async function resume(controller: Controller, plan: MachinePlan): Promise<void> {
  const { host, recorder } = controller
  const manager = await host.connectManager()
  // What the trace lacks is opened anew before the units are read.
  await controller.tracing
  void requestDelivery(recorder, manager)
  const secrets = await readSecrets(host, plan)
  controller.secrets = [...secrets.values()]
  await openHub(controller, secrets.get('HUB_REDIS_URL'))
  // Without a queued job nobody knows how far the start of the units came: what that takes is done again.
  const follower = isDone(recorder.machine, STEP_OF_JOBS)
    ? followUnits(host, recorder, plan, manager)
    : await startUnits(host, recorder, { plan, isPortMoved: true }, manager)
  await follower.resync()
  const { readyUs } = recorder.machine.state
  if (readyUs === undefined) {
    await manager.start(TARGET)
    await untilSettled(recorder, host.signal)
    await finishStartup(host, recorder)
    await becomeReady(controller)
  } else {
    recorder.endTrace(readyUs)
    host.notify.ready()
  }
  await tendMachine(host, recorder)
  follower.stop()
  await endMachine(host, recorder, manager)
  await keepPhase(host.files, recorder, controller.isFirst)
}

// As the earlier controller gave them to the units.
async function readSecrets(host: MachineHost, plan: MachinePlan): Promise<ReadonlyMap<string, string>> {
  const read = async (name: string): Promise<readonly [string, string | undefined]> => [
    name,
    await host.files.readText(path.join(secretsDirectory(plan), name)),
  ]
  const all = await Promise.all(plan.secretNames.map(read))
  return new Map(all.flatMap(([name, value]) => (value === undefined ? [] : [[name, value] as const])))
}

async function becomeReady({ host, recorder, tracing, isFirst }: Controller): Promise<void> {
  const nowUs = host.clock.nowUs()
  recorder.fold((machine) => enterPhase(machine, 'ready', nowUs))
  recorder.endTrace(nowUs)
  await recorder.flush()
  host.notify.ready()
  await tracing
  await keepPhase(host.files, recorder, isFirst)
}

async function giveUp(controller: Controller, thrown: unknown): Promise<number> {
  const { host, recorder, manager } = controller
  const stopped = host.signal.aborted
  if (!stopped && !(thrown instanceof StartFailure) && recorder.machine.state.attempts.length === 0) {
    // Nothing that has a step failed: a defect of the controller itself.
    host.journal.write({
      message: `CM0001 ${messageOf(thrown)}`,
      priority: 'err',
      fields: { COMFY_ERROR_CODE: 'CM0001' },
    })
  }
  await controller.tracing
  const nowUs = host.clock.nowUs()
  recorder.fold((machine) => enterPhase(machine, stopped ? 'stopped' : 'failed', nowUs))
  recorder.endTrace(nowUs)
  await recorder.flush()
  if (manager !== undefined) await requestDelivery(recorder, manager)
  if (stopped && manager !== undefined) await endMachine(host, recorder, manager)
  await keepPhase(host.files, recorder, controller.isFirst)
  return stopped ? 0 : exitCodeOf(recorder.machine.state, thrown)
}

function exitCodeOf({ failing }: MachineState, thrown: unknown): number {
  if (failing.length === 0)
    return definitionOf(toMachineError(thrown).code).transient === true ? EXIT_TRY_AGAIN : EXIT_FAILED
  if (
    failing.some(({ type }) => type === 'config_missing' || type === 'config_invalid' || type === 'permission_denied')
  )
    return EXIT_CONFIG
  const mayPass = failing.every(({ code }) => definitionOf(code).transient === true)
  return mayPass ? EXIT_TRY_AGAIN : EXIT_FAILED
}

function beat(host: MachineHost, recorder: Recorder): void {
  host.notify.watchdog()
  const isWaiting = recorder.machine.state.readyUs === undefined || host.signal.aborted
  if (isWaiting) host.notify.extend(EXTENSION_MS)
}

async function openHub({ publisher }: Controller, url: string | undefined): Promise<void> {
  if (url === undefined) return
  publisher.start((await import('../host/hub.ts')).openHub(url))
}
