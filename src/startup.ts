import { execute } from './apply/actions.ts'
import { directoriesOf } from './apply/directories.ts'
import { hostExecutors } from './apply/executors.ts'
import { type LoadedConfig, loadConfig, type MachineConfig } from './config/load-config.ts'
import { errorOfProblems, findingSentences, type Warning } from './config/problem.ts'
import type { Recorder } from './emit/recorder.ts'
import { MachineError, messageOf } from './errors.ts'
import { type Generated, generateUnits } from './generate.ts'
import type { Manager, UnitSnapshot } from './host/ports.ts'
import type { MachineHost } from './machine-host.ts'
import { endStep } from './observe/fold-step.ts'
import { HEALTH_SOCKET } from './observe/fold-unit.ts'
import { Follower } from './observe/follow.ts'
import { isDone } from './observe/machine.ts'
import { LATER_MODELS, type MachinePlan } from './plan/plan.ts'
import { wantedUnits } from './render/unit-values.ts'
import { unitsThat, untilSettled } from './settle.ts'
import { openWorkerOutboxes, startDelivery } from './trace.ts'

const SELF = 'comfy-machine.service'
const TARGET = 'comfy-machine.target'
const HEALTH = 'comfy-health.service'
// Below this systemd a start job is lost when a first attempt fails, and a unit gets no descriptors from OpenFile=.
const OLDEST_SYSTEMD = 254
const BOOT_GRACE_US = 60_000_000

/** What a startup leaves to whoever tends the machine afterwards. */
export interface Started {
  readonly plan: MachinePlan
  readonly config: MachineConfig
  readonly manager: Manager
  readonly follower: Follower
}

/**
 * One start of the machine, from top to bottom: the 21 steps of `steps.ts`. Step 5 comes first, because the times of
 * steps 1 and 2 are systemd's. Throws when a step fails; what failed is recorded by then.
 */
export async function startMachine(
  host: MachineHost,
  recorder: Recorder,
  onConfig: (config: MachineConfig) => Promise<void>,
): Promise<Started> {
  const manager = await recorder.step(
    5,
    () => connect(host),
    ({ version }) => ({ attributes: { 'systemd.version': version, summary: `systemd ${version}` } }),
  )
  const self = await describeSelf(manager.manager)
  await recordHostStart(manager.manager, self, recorder, host.isFirstStart) // 1
  recordEntrypoint(self, recorder) // 2
  const config = await recorder.step(3, () => loadEnvironment(host, recorder), describeConfig)
  await recorder.step(
    4,
    () => setUpDirectories(host, config.config, manager.manager),
    (attributes) => ({ attributes }),
  )
  await onConfig(config.config)
  const generated = await recorder.step(6, () => generateUnits(host, recorder, config.config, manager.manager)) // encloses 7–10
  const { plan } = generated
  const started = { plan, config: config.config, manager: manager.manager }
  await recorder.step(
    11,
    () => reload(plan, manager.manager),
    (times) => times,
  )
  void startDelivery(recorder, config.config, manager.manager)
  const follower = await startUnits(host, recorder, generated, manager.manager)
  const rollout = { host, recorder, manager: manager.manager, follower, plan }
  await untilSettled(rollout) // 12–20 are told by the units
  await finishStartup(host, recorder) // 21
  return { ...started, follower }
}

/** Follows the units of a plan; every step from 12 to 20 comes from here. */
export function followUnits(host: MachineHost, recorder: Recorder, plan: MachinePlan, manager: Manager): Follower {
  const follower = new Follower(
    {
      manager,
      files: host.files,
      reports: plan.paths.run,
      fold: (apply) => recorder.fold(apply),
      machine: () => recorder.machine,
      nowUs: () => host.clock.nowUs(),
      onProblem: (problem) => recorder.warn(`a change of a unit could not be followed: ${messageOf(problem)}`),
    },
    [...wantedUnits(plan), HEALTH_SOCKET, LATER_MODELS],
  )
  follower.start()
  return follower
}

async function connect(host: MachineHost): Promise<{ readonly manager: Manager; readonly version: string }> {
  const manager = await host.connectManager()
  const version = await manager.version()
  const major = Number.parseInt(version, 10)
  if (major < OLDEST_SYSTEMD)
    throw new MachineError('CM0502', `this host has systemd ${version}, the machine needs ${OLDEST_SYSTEMD} or later`)
  return { manager, version }
}

async function describeSelf(manager: Manager): Promise<UnitSnapshot> {
  const [self] = await manager.snapshots([SELF])
  if (self === undefined) throw new MachineError('CM0501', `systemd does not describe ${SELF}`)
  return self
}

// The first start after a boot that follows it closely begins with the firmware; any later one with the unit's activation.
async function recordHostStart(
  manager: Manager,
  self: UnitSnapshot,
  recorder: Recorder,
  isFirst: boolean,
): Promise<void> {
  const boot = await manager.bootTimes()
  const bootUs = [boot.firmwareUs, boot.loaderUs, boot.kernelUs, boot.userspaceUs].find((us) => us > 0) ?? 0
  const atBoot = isFirst && bootUs > 0 && (boot.finishUs === 0 || self.inactiveExitUs < boot.finishUs + BOOT_GRACE_US)
  const startUs = atBoot ? Math.min(bootUs, self.inactiveExitUs) : self.inactiveExitUs
  const attributes = { 'host.start': atBoot ? 'boot' : 'restart' }
  recorder.fold((machine) => endStep(machine, 1, { startUs, endUs: self.inactiveExitUs, state: 'done', attributes }))
}

function recordEntrypoint(self: UnitSnapshot, recorder: Recorder): void {
  // systemd notes the process a moment before the unit's change, because it forks first.
  const times = [self.inactiveExitUs, self.execMainStartUs]
  const end = { startUs: Math.min(...times), endUs: Math.max(...times), state: 'done' as const, unit: self }
  recorder.fold((machine) => endStep(machine, 2, end))
}

async function loadEnvironment(
  host: MachineHost,
  recorder: Recorder,
): Promise<LoadedConfig & { readonly config: MachineConfig }> {
  const { sources, problems } = await host.readConfig()
  const loaded = loadConfig(sources, await host.readIdentity())
  if (loaded.config !== undefined) recorder.name(loaded.config)
  const error = errorOfProblems([...problems, ...loaded.problems])
  if (error !== undefined || loaded.config === undefined)
    throw error ?? new MachineError('CM0001', 'the configuration is empty')
  return { ...loaded, config: loaded.config }
}

function describeConfig({
  config,
  warnings,
}: {
  readonly config: MachineConfig
  readonly warnings: readonly Warning[]
}): object {
  const attributes = { 'config.variables': config.origins.size, 'config.secrets': config.secrets.size }
  return {
    attributes: { ...attributes, summary: `${config.origins.size} variables` },
    warnings: findingSentences(warnings),
  }
}

async function setUpDirectories(
  host: MachineHost,
  config: MachineConfig,
  manager: Manager,
): Promise<Readonly<Record<string, number>>> {
  const executors = hostExecutors(host.files, manager)
  for (const action of directoriesOf(config)) {
    await execute(executors, action).catch((error: unknown) => {
      const full = /ENOSPC|EDQUOT/.test(messageOf(error))
      throw new MachineError(full ? 'CM0402' : 'CM0401', `${action.path}: ${messageOf(error)}`, { cause: error })
    })
  }
  const { bytes, inodes } = await host.files.freeSpace(config.workspace)
  if (bytes === 0 || inodes === 0)
    throw new MachineError('CM0402', `${config.workspace} has ${bytes} bytes and ${inodes} inodes free`)
  return { 'workspace.free_bytes': bytes, 'workspace.free_inodes': inodes }
}

async function reload(
  plan: MachinePlan,
  manager: Manager,
): Promise<{ readonly startUs: number; readonly endUs: number }> {
  const times = await manager.reload()
  const units = await manager.load([TARGET, ...wantedUnits(plan)])
  const missing = units.filter(({ loadState }) => loadState !== 'loaded')
  if (missing.length === 0) return times
  throw new MachineError('CM1102', missing.map(({ name, loadState }) => `${name} is ${loadState}`).join(', '))
}

/** Begins the start of every unit of a plan; what is old of the health server goes before. */
export async function startUnits(
  host: MachineHost,
  recorder: Recorder,
  { plan, isPortMoved }: Pick<Generated, 'plan' | 'isPortMoved'>,
  manager: Manager,
): Promise<Follower> {
  await openWorkerOutboxes(host, plan)
  const executors = hostExecutors(host.files, manager)
  const follower = followUnits(host, recorder, plan, manager)
  // The socket stays, so that no question is refused; a server that it started meanwhile is a new one all the same.
  const old = isDone(recorder.machine, 12) ? [] : isPortMoved ? [HEALTH_SOCKET, HEALTH] : [HEALTH]
  for (const unit of old) await execute(executors, { kind: 'stop', unit })
  // Starts that were asked for are not the crashes that a start limit counts.
  for (const unit of [HEALTH_SOCKET, HEALTH]) await execute(executors, { kind: 'reset-failed', unit })
  await execute(executors, { kind: 'start', unit: TARGET }).catch((error: unknown) => {
    const failure = new MachineError('CM1301', messageOf(error), { cause: error })
    recorder.fail(13, recorder.machine.state.startedUs, failure)
    throw failure
  })
  return follower
}

/** Step 21: every wanted unit is active, and the hub knows it. Throws CM2101 when one is not. */
export async function finishStartup(host: MachineHost, recorder: Recorder): Promise<void> {
  await recorder.step(
    21,
    () => completeStartup(host, recorder),
    (attributes) => ({ attributes }),
  )
}

async function completeStartup(
  host: MachineHost,
  recorder: Recorder,
): Promise<Readonly<Record<string, string | number>>> {
  const inactive = unitsThat(recorder.machine, (outcome) => outcome !== 'active' && outcome !== 'skipped')
  if (inactive.length > 0) throw new MachineError('CM2101', `${inactive.join(', ')} is not active`)
  const told = await host.tellHub('machine_ready')
  if (told !== undefined) recorder.warn(`the hub was not told that the machine is ready: ${told}`)
  return { 'machine.workers': recorder.machine.state.workers.length, 'hub.told': told === undefined ? 'yes' : told }
}
