import path from 'node:path'
import { type Action, execute } from './apply/actions.ts'
import { clearUnits } from './apply/clear-units.ts'
import { diffFiles, isManagedUnit, UNIT_DIRECTORY } from './apply/diff.ts'
import { directoriesOfPlan } from './apply/directories.ts'
import { hostExecutors } from './apply/executors.ts'
import { filesOf, PLAN_FILE } from './apply/files.ts'
import type { MachineConfig } from './config/load-config.ts'
import { loadMapping } from './config/load-mapping.ts'
import { errorOfProblems, findingSentences } from './config/problem.ts'
import { chooseGpus, type GpuChoice } from './detect/choose-gpus.ts'
import type { Recorder } from './emit/recorder.ts'
import { MachineError, messageOf } from './errors.ts'
import type { Manager } from './host/ports.ts'
import type { MachineHost } from './machine-host.ts'
import { withPlan } from './observe/machine.ts'
import type { MachinePlan } from './plan/plan.ts'
import { planMachine } from './plan/plan-machine.ts'
import { renderUnits } from './render/render-units.ts'
import { wantedUnits } from './render/unit-values.ts'

/** A plan whose units are on disk. */
export interface Generated {
  readonly plan: MachinePlan
  /** The health port is another one than before, and its socket must be bound anew. */
  readonly isPortMoved: boolean
}

// The port of the unit that the package ships.
const PACKAGED_PORT = 9090

/** Steps 7 to 10: templates, mapping, hardware, and from them the plan and its units on disk. */
export async function generateUnits(
  host: MachineHost,
  recorder: Recorder,
  config: MachineConfig,
  manager: Manager,
): Promise<Generated> {
  const templates = await recorder.step(
    7,
    () => host.readTemplates(),
    (all) => ({ attributes: { 'templates.count': all.size } }),
  )
  const mapping = await recorder.step(
    8,
    async () => {
      const loaded = loadMapping(await host.readMapping(), config)
      const error = errorOfProblems(loaded.problems)
      if (error !== undefined || loaded.mapping === undefined)
        throw error ?? new MachineError('CM0802', 'the service mapping is empty')
      return { mapping: loaded.mapping, warnings: loaded.warnings }
    },
    ({ warnings }) => ({ warnings: findingSentences(warnings) }),
  )
  const choice = await recorder.step(
    9,
    () => detectHardware(host, config),
    ({ trail, attributes }) => {
      return { attributes: { ...attributes, summary: trail[0] ?? '' } }
    },
  )
  return recorder.step(
    10,
    async () => {
      const { traceId, version } = recorder.machine.state
      const plan = planMachine(config, mapping.mapping, choice.gpus, { traceId, version })
      const units = renderUnits(plan, templates)
      recorder.replace(withPlan(recorder.machine, plan, wantedUnits(plan)))
      // With nothing of an earlier start running the trace holds the whole start.
      await clearUnits(host.files, manager)
      const isPortMoved = (await readEarlierPort(host, plan)) !== plan.health.port
      const files = diffFiles(await presentFiles(host, plan), filesOf(plan, units, config.secrets))
      for (const action of directoriesOfPlan(plan)) await write(host, manager, action)
      await Promise.all(files.map((action) => write(host, manager, action)))
      return { plan, isPortMoved }
    },
    ({ plan }) => ({ attributes: { 'units.count': wantedUnits(plan).length } }),
  )
}

async function detectHardware(
  host: MachineHost,
  config: MachineConfig,
): Promise<GpuChoice & { readonly attributes: Readonly<Record<string, string | number>> }> {
  const actual = config.gpuMode === 'actual'
  const facts = await host.inspectHost(actual)
  const choice = chooseGpus(config, actual ? await host.readGpuEvidence(facts.graphics) : null)
  const attributes = {
    'host.cpu.model.name': facts.cpuModel,
    'host.cpu.cores': facts.cpuCores,
    'host.memory_mib': facts.memoryMiB,
    'gpu.count': choice.gpus.length,
  }
  return { ...choice, attributes: { ...attributes, 'gpu.trail': choice.trail.join('\n') } }
}

// What the plan of an earlier start of this boot says; before the first one the packaged socket listens.
async function readEarlierPort(host: MachineHost, { paths }: MachinePlan): Promise<number> {
  const text = await host.files.readText(path.join(paths.run, PLAN_FILE))
  return text === undefined ? PACKAGED_PORT : (JSON.parse(text) as MachinePlan).health.port
}

async function presentFiles(host: MachineHost, plan: MachinePlan): Promise<ReadonlyMap<string, string>> {
  const present = new Map<string, string>()
  const add = async (directory: string, isOurs: (name: string) => boolean): Promise<void> => {
    const names = (await host.files.list(directory)).filter(isOurs)
    const read = async (file: string): Promise<void> => {
      const text = await host.files.readText(file)
      if (text !== undefined) present.set(file, text)
    }
    await Promise.all(names.map((name) => read(path.join(directory, name))))
  }
  await add(UNIT_DIRECTORY, isManagedUnit)
  await add(path.join(plan.paths.run, 'secrets'), () => true)
  return present
}

async function write(host: MachineHost, manager: Manager, action: Action): Promise<void> {
  await execute(hostExecutors(host.files, manager), action).catch((error: unknown) => {
    const place = 'path' in action ? action.path : action.kind
    throw new MachineError('CM1002', `${place}: ${messageOf(error)}`, { cause: error })
  })
}
