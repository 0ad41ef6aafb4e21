/** The five stretches of a machine start; a step belongs to exactly one. */
export type Phase =
  | 'host_environment'
  | 'unit_generation'
  | 'service_startup'
  | 'component_installation'
  | 'comfyui_ready'

/** Who makes the step visible: systemd's own timestamps, the controller itself, or the state of a unit. */
export type Owner =
  | { readonly kind: 'manager' }
  | { readonly kind: 'controller' }
  | { readonly kind: 'job'; readonly unit: UnitPattern }
  | { readonly kind: 'unit'; readonly unit: UnitPattern }
  | { readonly kind: 'report'; readonly unit: UnitPattern }

/** A unit name; `gpuN` stands for every planned GPU. */
export type UnitPattern =
  | 'comfy-machine.service'
  | 'comfy-health.service'
  | 'comfy-install-comfyui.service'
  | 'comfy-discover.service'
  | 'comfy-install-nodes.service'
  | 'comfy-install-models.service'
  | 'comfyui@gpuN.service'
  | 'redis-worker@gpuN.service'

/** One row of the startup contract; the number is its identity in dashboards and runbooks. */
export interface Step {
  readonly number: number
  readonly title: string
  readonly event: string
  readonly legacyEvent?: string
  readonly phase: Phase
  readonly owner: Owner
}

const manager: Owner = { kind: 'manager' }
const controller: Owner = { kind: 'controller' }
const unit = (name: UnitPattern): Owner => ({ kind: 'unit', unit: name })
const job = (name: UnitPattern): Owner => ({ kind: 'job', unit: name })
const report = (name: UnitPattern): Owner => ({ kind: 'report', unit: name })

const row = (number: number, title: string, event: string, phase: Phase, owner: Owner, legacyEvent?: string): Step =>
  legacyEvent === undefined
    ? { number, title, event, phase, owner }
    : { number, title, event, phase, owner, legacyEvent }

/** The 21 steps of a machine start, in the order of their numbers, which is not their order in time. */
export const STEPS: readonly Step[] = [
  row(1, 'Host Start', 'machine.container.start', 'host_environment', manager),
  row(2, 'Entrypoint Launch', 'machine.entrypoint.start', 'host_environment', unit('comfy-machine.service')),
  row(3, 'Environment Loading', 'machine.environment.load', 'host_environment', controller),
  row(4, 'Directory Setup', 'machine.directories.setup', 'host_environment', controller),
  row(5, 'Service Manager Setup', 'machine.service_manager.setup', 'host_environment', controller),
  row(
    6,
    'Unit Generation',
    'machine.systemd.generation.start',
    'unit_generation',
    controller,
    'machine.pm2.generation.start',
  ),
  row(
    7,
    'Generator Call',
    'machine.systemd.generator.start',
    'unit_generation',
    controller,
    'machine.pm2.enhanced_generator.start',
  ),
  row(
    8,
    'Service Mapping Load',
    'machine.systemd.service_mapping.load',
    'unit_generation',
    controller,
    'machine.pm2.service_mapping.load',
  ),
  row(
    9,
    'Hardware Detection',
    'machine.systemd.hardware.detect',
    'unit_generation',
    controller,
    'machine.pm2.hardware.detect',
  ),
  row(10, 'Unit Output', 'machine.systemd.units.write', 'unit_generation', controller, 'machine.pm2.config.write'),
  row(11, 'Daemon Reload', 'machine.systemd.daemon.reload', 'service_startup', manager, 'machine.pm2.daemon.start'),
  row(12, 'Health Server Start', 'machine.health_server.start', 'service_startup', unit('comfy-health.service')),
  row(13, 'ComfyUI Service Start', 'machine.comfyui.service.start', 'service_startup', job('comfyui@gpuN.service')),
  row(
    14,
    'ComfyUI Installer Init',
    'machine.comfyui.installer.init',
    'component_installation',
    unit('comfy-install-comfyui.service'),
  ),
  row(
    15,
    'Component Manager Init',
    'machine.component_manager.init',
    'component_installation',
    report('comfy-discover.service'),
  ),
  row(16, 'API Discovery Call', 'machine.api.discovery.call', 'component_installation', unit('comfy-discover.service')),
  row(
    17,
    'Custom Nodes Installation',
    'machine.custom_nodes.install',
    'component_installation',
    unit('comfy-install-nodes.service'),
  ),
  row(
    18,
    'Models Installation',
    'machine.models.install',
    'component_installation',
    unit('comfy-install-models.service'),
  ),
  row(19, 'ComfyUI Server Start', 'machine.comfyui.server.start', 'comfyui_ready', unit('comfyui@gpuN.service')),
  row(20, 'Worker Connection', 'machine.worker.connection.start', 'comfyui_ready', unit('redis-worker@gpuN.service')),
  row(21, 'Machine Ready', 'machine.ready.complete', 'comfyui_ready', controller),
]

/** The step that brings the models which the start needs; what is loaded after it counts as its part. */
export const MODELS_STEP = 18

/** Name of the root span of a startup; its attribute `step_number` is 0. */
export const STARTUP_SPAN = 'machine.startup'

/** Name of the event that every failed attempt of a step makes. */
export const FAILURE_EVENT = 'machine.step.failure'

/** Name of the root span of a short trace that records a failure after step 21. */
export const INCIDENT_SPAN = 'machine.incident'

/** Name of the event on a job's span at which a node of its workflow began. */
export const JOB_NODE_EVENT = 'comfyui.node'

/** Name of the span, in the trace of such a failure, that lasts until the unit is back. */
export const RECOVERY_SPAN = 'machine.recovery'

/** Name of the root span of a rollout, a trace of its own. */
export const ROLLOUT_SPAN = 'machine.rollout'

/** Name of the span, in the trace of a rollout, of a GPU that is moved to another generation or back. */
export const ROLLOUT_GPU_SPAN = 'machine.rollout.gpu'

/** Name of the root span of the loading of models after the start, a trace of its own. */
export const LATER_MODELS_SPAN = 'machine.models.load'

/** The row of one step. Throws RangeError for a number outside 1–21. */
export function stepOf(number: number): Step {
  const step = STEPS[number - 1]
  if (step === undefined) throw new RangeError(`no step ${number}`)
  return step
}
