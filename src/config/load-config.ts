import { flagOf, listOf, rateOf, valueProblems } from './check-value.ts'
import { type ConfigSource, collectSettings, type Setting } from './collect.ts'
import { type Origin, type Problem, problemOf, type Warning, warningOf } from './problem.ts'
import { splitArguments } from './split-arguments.ts'
import { VARIABLES, type Variable } from './variables.ts'
import { parseWorkers, type WorkerRequest } from './workers.ts'

/** The settings of a machine, checked and typed. Secrets are held apart and are in no other field. */
export interface MachineConfig {
  readonly machineId: string
  readonly workers: readonly WorkerRequest[]
  /** WORKERS as written. */
  readonly workersConfig: string
  readonly gpuMode: 'actual' | 'mock'
  readonly mockGpuCount: number
  /** Without a trailing slash; null where MACHINE_LOCK takes its place. */
  readonly apiUrl: string | null
  readonly workflows: readonly string[]
  readonly collections: readonly string[]
  readonly staleOk: boolean
  readonly allowInsecureSources: boolean
  readonly failurePolicy: 'strict' | 'degraded'
  /** MACHINE_LOCK; null where the component API decides. */
  readonly lockFile: string | null
  readonly nodes: NodeSettings
  readonly python: PythonSettings
  readonly modelDownloads: ModelDownloadSettings
  readonly comfyui: ComfyUISettings
  readonly healthPort: number
  readonly workspace: string
  readonly models: string
  /** Every public variable, by its name and by the name it is an older name of. */
  readonly environment: Readonly<Record<string, string>>
  /** Values of secrets by name; HUB_REDIS_URL under this name also when it was written as REDIS_URL. */
  readonly secrets: ReadonlyMap<string, string>
  /** Where each variable was written. */
  readonly origins: ReadonlyMap<string, Origin>
}

/** What machine.env says of ComfyUI; null where the service mapping or the default decides. */
export interface ComfyUISettings {
  readonly repoUrl: string | null
  readonly ref: string | null
  readonly basePort: number | null
  readonly listen: string
  readonly args: readonly string[]
  readonly startTimeoutS: number
}

/** How custom nodes are set up and run. */
export interface NodeSettings {
  readonly scriptTimeoutS: number
  readonly writable: boolean
}

/** How Python packages are installed. `torchBackend` null: the driver, or an index of the operator's, decides. */
export interface PythonSettings {
  readonly installer: 'uv' | 'pip'
  readonly torchBackend: string | null
}

/** Where models come from beside their origin, how much of the network they may take, and where others get them from. */
export interface ModelDownloadSettings {
  /** Base URLs without a trailing slash, in the order in which they are tried. */
  readonly sources: readonly string[]
  readonly connections: number
  readonly connectionsPerHost: number
  /** Bytes per second in all; null for no limit. */
  readonly rateLimit: number | null
  /** Where other machines may get them from this one; null for nowhere. */
  readonly sharePort: number | null
}

/** The configuration, or every problem of it at once. */
export interface LoadedConfig {
  /** Undefined when there is a problem. */
  readonly config: MachineConfig | undefined
  readonly problems: readonly Problem[]
  readonly warnings: readonly Warning[]
}

/** What the host says of itself: the default of MACHINE_ID, null where there is no /etc/machine-id. */
export interface HostIdentity {
  readonly machineId: string | null
}

/** Reads every source, in the order of rising precedence, checks every variable, and reports every problem at once. */
export function loadConfig(sources: readonly ConfigSource[], identity: HostIdentity): LoadedConfig {
  const collected = collectSettings(sources)
  const problems: Problem[] = [...collected.problems]
  const warnings: Warning[] = [...collected.warnings]
  const settings = new Map(collected.settings)
  for (const variable of VARIABLES) {
    const chosen = chooseName(variable, collected.settings, warnings)
    if (chosen !== undefined) settings.set(variable.name, chosen)
    problems.push(...variableProblems(variable, chosen, { identity, isLocked: collected.settings.has('MACHINE_LOCK') }))
  }
  problems.push(...portProblems(settings))
  const config = problems.length === 0 ? typedConfig(settings, identity) : undefined
  return { config, problems, warnings }
}

/** The setting of a variable under its name or the first older name that is set. */
function chooseName(
  variable: Variable,
  settings: ReadonlyMap<string, Setting>,
  warnings: Warning[],
): Setting | undefined {
  const written = [variable.name, ...variable.aliases].filter((name) => settings.has(name))
  const [first, ...others] = written
  if (first === undefined) return undefined
  const chosen = settings.get(first)
  for (const name of others) {
    const other = settings.get(name)
    if (other === undefined || other.value === chosen?.value) continue
    const message = `${name} is not used: ${first} is set too and counts`
    warnings.push(warningOf(message, { origin: other.origin, variable: name }))
  }
  return chosen
}

function variableProblems(
  variable: Variable,
  setting: Setting | undefined,
  { identity, isLocked }: { readonly identity: HostIdentity; readonly isLocked: boolean },
): Problem[] {
  const { name } = variable
  if (setting !== undefined) {
    return valueProblems(variable.kind, setting.value).map((message) =>
      problemOf('CM0302', `${name}: ${message}`, { origin: setting.origin, variable: name }),
    )
  }
  const hint = `Set ${name} in /etc/comfy-machine/${variable.secret ? 'secrets.env' : 'machine.env'} and start again.`
  if (name === 'EMPROPS_API_URL' && isLocked) return []
  if (variable.required)
    return [problemOf('CM0301', `${name} is not set: ${variable.sentence}`, { variable: name, hint })]
  if (name === 'MACHINE_ID' && identity.machineId === null) {
    return [problemOf('CM0301', 'MACHINE_ID is not set and the host has no /etc/machine-id', { variable: name, hint })]
  }
  return []
}

function portProblems(settings: ReadonlyMap<string, Setting>): Problem[] {
  return PORTS.flatMap((variable, index) =>
    PORTS.slice(index + 1).flatMap((other) => {
      const port = textOf(settings, variable)
      if (port === '' || port !== textOf(settings, other)) return []
      const setting = settings.get(variable) ?? settings.get(other)
      return [problemOf('CM0302', `${variable} and ${other} are both ${port}`, { origin: setting?.origin, variable })]
    }),
  )
}

function typedConfig(settings: ReadonlyMap<string, Setting>, identity: HostIdentity): MachineConfig {
  const text = (name: string): string => textOf(settings, name)
  const optional = (name: string): string | null => settings.get(name)?.value ?? null
  const numberOf = (name: string): number | null => (settings.has(name) ? Number(text(name)) : null)
  const workspace = normalised(text('WORKSPACE_PATH'))
  const entries = [...settings]
  return {
    machineId: optional('MACHINE_ID') ?? identity.machineId ?? '',
    workers: parseWorkers(text('WORKERS')).workers,
    workersConfig: text('WORKERS'),
    gpuMode: text('GPU_MODE') === 'mock' ? 'mock' : 'actual',
    mockGpuCount: Number(text('MOCK_GPU_NUM')),
    apiUrl: optional('EMPROPS_API_URL')?.replace(/\/+$/, '') ?? null,
    workflows: listOf(text('COMPONENTS')),
    collections: listOf(text('COLLECTIONS')),
    staleOk: flagOf(text('COMPONENTS_STALE_OK')) === true,
    allowInsecureSources: flagOf(text('ALLOW_INSECURE_SOURCES')) === true,
    failurePolicy: text('COMPONENT_FAILURE_POLICY') === 'degraded' ? 'degraded' : 'strict',
    lockFile: optional('MACHINE_LOCK'),
    nodes: {
      scriptTimeoutS: Number(text('NODE_SCRIPT_TIMEOUT')),
      writable: flagOf(text('CUSTOM_NODES_WRITABLE')) === true,
    },
    python: {
      installer: text('PYTHON_INSTALLER') === 'pip' ? 'pip' : 'uv',
      torchBackend: optional('TORCH_BACKEND'),
    },
    modelDownloads: {
      sources: listOf(text('MODEL_SOURCES')).map((source) => source.replace(/\/+$/, '')),
      connections: Number(text('MODEL_CONNECTIONS')),
      connectionsPerHost: Number(text('MODEL_CONNECTIONS_PER_HOST')),
      rateLimit: rateOf(text('MODEL_RATE_LIMIT')) ?? null,
      sharePort: numberOf('MODEL_SHARE_PORT'),
    },
    comfyui: {
      repoUrl: optional('COMFYUI_REPO_URL'),
      ref: optional('COMFYUI_REF'),
      basePort: numberOf('COMFYUI_BASE_PORT'),
      listen: text('COMFYUI_LISTEN'),
      args: splitArguments(text('COMFY_ARGS')).words,
      startTimeoutS: Number(text('COMFYUI_START_TIMEOUT')),
    },
    healthPort: Number(text('MACHINE_HEALTH_PORT')),
    workspace,
    models: normalised(optional('MODELS_PATH') ?? `${workspace}/models`),
    environment: Object.fromEntries(
      entries.filter(([, { secret }]) => !secret).map(([name, { value }]) => [name, value]),
    ),
    secrets: new Map(entries.filter(([, { secret }]) => secret).map(([name, { value }]) => [name, value])),
    origins: new Map(entries.map(([name, { origin }]) => [name, origin])),
  }
}

/** Ports on which this host listens. */
const PORTS = ['COMFYUI_BASE_PORT', 'MACHINE_HEALTH_PORT', 'MODEL_SHARE_PORT'] as const
const defaults = new Map(VARIABLES.map((variable) => [variable.name, variable.default ?? '']))

function textOf(settings: ReadonlyMap<string, Setting>, name: string): string {
  return settings.get(name)?.value ?? defaults.get(name) ?? ''
}

function normalised(path: string): string {
  return path.replace(/\/{2,}/g, '/').replace(/(.)\/$/, '$1')
}
