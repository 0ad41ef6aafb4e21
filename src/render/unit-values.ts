import path from 'node:path'
import { evidenceDirectory, placesOf, pointerOf } from '../plan/places.ts'
import {
  type MachinePlan,
  type PlannedGpu,
  type PlannedInstance,
  type PlannedWorker,
  TELEMETRY_DIRECTORY,
} from '../plan/plan.ts'
import { isTelemetryName, logFields, secretsDirectory, traceEnvironment, type UnitToRender } from './common-values.ts'
import { assignment, execLine, quoteWord } from './escape.ts'
import { installers, sandboxUnits } from './installer-units.ts'
import { metricsUnits } from './metrics-units.ts'
import { rolloutUnits } from './rollout-units.ts'
import { shareUnits } from './share-units.ts'

const HUB = 'HUB_REDIS_URL'

/** Every unit of a machine, in the order in which they are listed to people. */
export function unitsOf(plan: MachinePlan): readonly UnitToRender[] {
  const wanted = [...installers(plan), ...plan.instances.map(comfyuiUnit(plan)), ...plan.workers.map(workerUnit(plan))]
  const health = healthUnits(plan)
  const pushed = metricsUnits(plan, {
    logFields: logFields(plan),
    credentials: plan.secretNames.filter(isTelemetryName),
    secrets: secretsDirectory(plan),
  })
  const sandbox = sandboxUnits(plan)
  const share = shareUnits(plan)
  const beside = [...pushed.slice(1), ...share.slice(0, 1)]
  const wants = [...health.slice(1), ...sandbox.slice(0, 1), ...wanted, ...beside].map((unit) => unit.name)
  const target = {
    name: 'comfy-machine.target',
    template: 'comfy-machine.target',
    values: { machineId: plan.machineId, wants },
  }
  return [target, ...health, telemetryUnit(plan), ...pushed, ...share, ...sandbox, ...rolloutUnits(plan), ...wanted]
}

/** Names of the units that must be active for the machine to be ready. */
export function wantedUnits(plan: MachinePlan): readonly string[] {
  const installerNames = installers(plan).map((unit) => unit.name)
  return [
    'comfy-health.service',
    ...installerNames,
    ...plan.instances.map((i) => i.unit),
    ...plan.workers.map((w) => w.unit),
  ]
}

/** The outbox of the worker of a GPU. */
export function outboxDirectory(gpu: string): string {
  return path.join(TELEMETRY_DIRECTORY, `worker-${gpu}`)
}

/** The home of the ComfyUI processes: caches of what they run, shared by all of them. */
export function homeDirectory(plan: MachinePlan): string {
  return path.join(instancesDirectory(plan), 'home')
}

/** The directories of one ComfyUI instance that are never shared with another. */
export function instanceDirectories(
  plan: MachinePlan,
  gpu: string,
): Readonly<Record<'output' | 'temp' | 'input' | 'user' | 'evidence', string>> {
  const base = path.join(instancesDirectory(plan), gpu)
  return {
    output: path.join(base, 'output'),
    temp: path.join(base, 'temp'),
    input: path.join(base, 'input'),
    user: path.join(base, 'user'),
    evidence: evidenceDirectory(plan.paths.workspace, gpu),
  }
}

function healthUnits(plan: MachinePlan): readonly UnitToRender[] {
  return [
    { name: 'comfy-health.socket', template: 'comfy-health.socket', values: { port: plan.health.port } },
    { name: 'comfy-health.service', template: 'comfy-health.service', values: { logFields: logFields(plan) } },
  ]
}

function telemetryUnit(plan: MachinePlan): UnitToRender {
  return {
    name: 'comfy-telemetry.service',
    template: 'comfy-telemetry.service',
    values: {
      logFields: logFields(plan),
      credentials: plan.secretNames.filter(isTelemetryName),
      secrets: secretsDirectory(plan),
    },
  }
}

const comfyuiUnit =
  (plan: MachinePlan) =>
  (instance: PlannedInstance): UnitToRender => {
    const gpu = gpuNamed(plan, instance.gpu)
    const generation = pointerOf(plan.paths.workspace, gpu.name)
    return {
      name: instance.unit,
      template: 'comfyui@.service',
      values: {
        gpu: gpu.name,
        model: gpu.model,
        workingDirectory: generation,
        environment: comfyuiEnvironment(plan, gpu),
        execStart: execLine(comfyuiCommand(plan, instance, generation)),
        reportDirectory: reportDirectory(instance.unit),
        logFields: logFields(plan, gpu.name),
        writable: comfyuiWritable(plan, generation).map(quoteWord),
        numaNode: gpu.numaNode,
        devices: plan.gpuMode === 'mock' ? null : gpuDevices(gpu),
      },
    }
  }

const workerUnit =
  (plan: MachinePlan) =>
  (worker: PlannedWorker): UnitToRender => ({
    name: worker.unit,
    template: 'redis-worker@.service',
    values: {
      gpu: worker.gpu,
      type: worker.type,
      comfyui: `comfyui@${worker.gpu}.service`,
      reportDirectory: reportDirectory(worker.unit),
      logFields: logFields(plan, worker.gpu),
      traceparent: traceEnvironment(plan),
      credentials: plan.secretNames.filter((name) => name === HUB),
      secrets: secretsDirectory(plan),
      // A worker takes jobs also where there is no place for its spans.
      outbox: quoteWord(`-${outboxDirectory(worker.gpu)}`),
    },
  })

/** The directory below the machine's run directory in which a unit's process reports. */
export function reportDirectory(unit: string): string {
  return unit.replace(/\.service$/, '')
}

function gpuNamed(plan: MachinePlan, name: string): PlannedGpu {
  const gpu = plan.gpus.find((candidate) => candidate.name === name)
  if (gpu === undefined) throw new RangeError(`the plan has no ${name}`)
  return gpu
}

/** Where ComfyUI processes have what they write. */
export function instancesDirectory(plan: MachinePlan): string {
  return path.join(plan.paths.workspace, 'instances')
}

// What runs cannot change what runs, unless the operator wants it of custom nodes.
function comfyuiWritable(plan: MachinePlan, generation: string): readonly string[] {
  const nodes = plan.nodes.writable ? [path.join(generation, 'custom_nodes')] : []
  return [...new Set([instancesDirectory(plan), plan.paths.models, ...nodes])]
}

// ComfyUI is never told --cuda-device: it would overwrite CUDA_VISIBLE_DEVICES. A mock instance gets a device name that
// no driver knows, so nothing in it can touch a real GPU.
function comfyuiEnvironment(plan: MachinePlan, gpu: PlannedGpu): readonly string[] {
  const proxies = Object.entries(plan.environment).filter(([name]) => /_proxy$/i.test(name))
  return [
    assignment('CUDA_DEVICE_ORDER', 'PCI_BUS_ID'),
    assignment('CUDA_VISIBLE_DEVICES', gpu.uuid ?? `MOCK-${gpu.index}`),
    assignment('PYTHONUNBUFFERED', '1'),
    assignment('PYTHONDONTWRITEBYTECODE', '1'),
    assignment('HOME', homeDirectory(plan)),
    traceEnvironment(plan),
    ...proxies.map(([name, value]) => assignment(name, value)),
  ]
}

function comfyuiCommand(plan: MachinePlan, instance: PlannedInstance, generation: string): readonly string[] {
  const own = instanceDirectories(plan, instance.gpu)
  return [
    path.join(generation, 'venv', 'bin', 'python'),
    'main.py',
    ...['--listen', instance.listen, '--port', String(instance.port), '--disable-auto-launch'],
    ...['--output-directory', own.output, '--temp-directory', own.temp],
    ...['--input-directory', own.input, '--user-directory', own.user],
    ...['--extra-model-paths-config', path.join(placesOf(plan.paths.workspace).home, 'extra_model_paths.yaml')],
    ...(plan.gpuMode === 'mock' ? ['--cpu'] : []),
    ...instance.args,
  ]
}

// /dev/nvidiaN is named by the device's minor number, not by nvidia-smi's index; uvm and caps by their class in /proc/devices.
function gpuDevices(gpu: PlannedGpu): readonly string[] {
  const own = gpu.minor === null ? [] : [`/dev/nvidia${gpu.minor}`]
  return [...own, '/dev/nvidiactl', 'char-nvidia-uvm', 'char-nvidia-caps']
}
