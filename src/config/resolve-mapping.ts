import { expandVariables } from './expand.ts'
import type { MachineConfig } from './load-config.ts'
import type { Service, ServiceMapping, WorkerType } from './mapping.ts'
import { nearest } from './nearest.ts'
import { type Problem, problemOf } from './problem.ts'

/** A wanted worker type with what the mapping says of it. */
export interface WantedWorker {
  readonly type: string
  readonly count: number | 'auto'
  readonly services: readonly string[]
  /** Queues it takes jobs from, in the order of the mapping. */
  readonly queues: readonly string[]
}

/** What the mapping says of the service comfyui, variables filled in; null where it says nothing. */
export interface MappedComfyUI {
  readonly repoUrl: string | null
  readonly ref: string | null
  readonly basePort: number | null
  /** Distance of the ports of two instances, at least 1. */
  readonly portIncrement: number
}

/** The part of the service mapping that this machine wants. */
export interface ResolvedMapping {
  readonly workers: readonly WantedWorker[]
  readonly comfyui: MappedComfyUI
}

/** The wanted part of the mapping, or every problem of it at once. */
export interface MappingResult {
  /** Undefined when there is a problem. */
  readonly resolved: ResolvedMapping | undefined
  readonly problems: readonly Problem[]
}

/** The service that this machine runs. */
const COMFYUI = 'comfyui'
const UNIT_TYPES = ['systemd_service', 'pm2_service', 'internal']

/** Takes from the mapping what WORKERS wants; variables are expanded and required only there. `file` is named in problems. */
export function resolveMapping(config: MachineConfig, mapping: ServiceMapping, file: string): MappingResult {
  const problems: Problem[] = []
  const workers: WantedWorker[] = []
  const services = new Set<string>()
  for (const { type, count } of config.workers) {
    const definition = Object.hasOwn(mapping.workers, type) ? mapping.workers[type] : undefined
    if (definition === undefined) {
      problems.push(unknownType(type, mapping, config))
      continue
    }
    for (const name of definition.services) services.add(name)
    problems.push(...missingEnv(`worker type ${type}`, definition.required_env, config))
    const queues = queuesOf(definition)
    if (queues.length === 0) {
      const message = `workers.${type}.job_service_required_map names no job for its services`
      problems.push(problemOf('CM0802', message, { origin: { file, line: null } }))
    }
    workers.push({ type, count, services: definition.services, queues })
  }
  let comfyui: MappedComfyUI = { repoUrl: null, ref: null, basePort: null, portIncrement: 1 }
  for (const name of services) {
    const definition = Object.hasOwn(mapping.services, name) ? mapping.services[name] : undefined
    if (definition === undefined) {
      const message = `services.${name} is missing, though a wanted worker type names it`
      problems.push(problemOf('CM0802', message, { origin: { file, line: null } }))
      continue
    }
    const refusal = whyNotRunnable(name, definition)
    if (refusal !== undefined) {
      problems.push(problemOf('CM0804', refusal, { origin: originOfWorkers(config), variable: 'WORKERS' }))
      continue
    }
    problems.push(...missingEnv(`service ${name}`, definition.required_env, config))
    comfyui = mapComfyUI(definition, config, file, problems)
  }
  return { resolved: problems.length === 0 ? { workers, comfyui } : undefined, problems }
}

function originOfWorkers(config: MachineConfig): { readonly file: string; readonly line: number | null } | undefined {
  return config.origins.get('WORKERS')
}

function unknownType(type: string, mapping: ServiceMapping, config: MachineConfig): Problem {
  const known = Object.keys(mapping.workers)
  const meant = nearest(type, known)
  const answer = meant === undefined ? 'known are' : `did you mean ${meant}? Known are`
  const message = `the worker type ${type} is not known: ${answer} ${known.join(', ')}`
  return problemOf('CM0803', message, { origin: originOfWorkers(config), variable: 'WORKERS' })
}

function queuesOf(type: WorkerType): readonly string[] {
  const rows = type.job_service_required_map.filter((row) => type.services.includes(row.worker_service))
  return [...new Set(rows.map((row) => row.job_service_required))]
}

function whyNotRunnable(name: string, service: Service): string | undefined {
  if (name !== COMFYUI) {
    return service.exec === undefined
      ? `the service ${name} cannot run on this machine: it runs ${COMFYUI} only`
      : `the service ${name} gives an exec, which this version does not run yet: it runs ${COMFYUI} only`
  }
  if (service.exec !== undefined) return `the service ${name} gives an exec, but the machine has its own way to run it`
  if (UNIT_TYPES.includes(service.type)) return undefined
  return `the service ${name} has the type ${service.type}, which is no unit; use systemd_service`
}

function missingEnv(owner: string, names: readonly string[], config: MachineConfig): readonly Problem[] {
  return names
    .filter((name) => !Object.hasOwn(config.environment, name) && !config.secrets.has(name))
    .map((name) => problemOf('CM0805', `the ${owner} requires ${name}, which is not set`, { variable: name }))
}

function mapComfyUI(service: Service, config: MachineConfig, file: string, problems: Problem[]): MappedComfyUI {
  const fill = (path: string, value: string | number | boolean | undefined): string | null => {
    if (value === undefined) return null
    const { text, missing, malformed } = expandVariables(String(value), config.environment)
    const at = `services.${COMFYUI}.${path}`
    const origin = { file, line: null }
    if (malformed) problems.push(problemOf('CM0802', `${at}: ${value} cannot be expanded`, { origin }))
    for (const name of missing) {
      const reason = config.secrets.has(name) ? 'is a secret and cannot stand here' : 'is not set and has no default'
      problems.push(problemOf('CM0805', `${at}: ${name} ${reason}`, { origin, variable: name }))
    }
    return malformed || missing.length > 0 || text === '' ? null : text
  }
  const number = (path: string, value: string | number | undefined, most: number): number | null => {
    const text = fill(path, value)
    if (text === null) return null
    const parsed = /^[0-9]{1,5}$/.test(text) ? Number(text) : Number.NaN
    if (parsed >= 1 && parsed <= most) return parsed
    const message = `services.${COMFYUI}.${path}: ${JSON.stringify(text)} is not a number from 1 to ${most}`
    problems.push(problemOf('CM0802', message, { origin: { file, line: null } }))
    return null
  }
  return {
    repoUrl: fill('installer_config.repo_url', service.installer_config['repo_url']),
    ref: fill('installer_config.branch', service.installer_config['branch']),
    basePort: number('ports.0', service.ports[0], 65535),
    portIncrement: number('port_increment', service.port_increment, 1000) ?? 1,
  }
}
