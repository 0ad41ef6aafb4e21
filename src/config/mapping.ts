import * as z from 'zod'
import { parseJson } from './parse-json.ts'
import { type Problem, problemOf, type Warning, warningOf } from './problem.ts'

const name = z.string().min(1)
const scalar = z.union([z.string(), z.number(), z.boolean()])

const workerType = z.strictObject({
  services: z.array(name).min(1),
  is_gpu_bound: z.boolean(),
  job_service_required_map: z.array(z.strictObject({ job_service_required: name, worker_service: name })),
  required_env: z.array(name).default([]),
})

const service = z.strictObject({
  type: name,
  is_gpu_bound: z.boolean().default(true),
  ports: z.array(z.union([z.string(), z.number()])).default([]),
  port_increment: z.union([z.string(), z.number()]).default(1),
  installer_config: z.record(z.string(), scalar).default({}),
  exec: z.array(name).min(1).optional(),
  required_env: z.array(name).default([]),
})

const document = z.strictObject({
  workers: z.record(name, workerType),
  services: z.record(name, service),
})

/** service-mapping.json as written; its texts may hold `${VAR:-default}`. */
export type ServiceMapping = z.infer<typeof document>

/** One worker type of the mapping. */
export type WorkerType = z.infer<typeof workerType>

/** One service of the mapping. */
export type Service = z.infer<typeof service>

/** The mapping, or every problem of it at once. */
export interface LoadedMapping {
  /** Undefined when there is a problem. */
  readonly mapping: ServiceMapping | undefined
  readonly problems: readonly Problem[]
  readonly warnings: readonly Warning[]
}

/** Reads service-mapping.json. Unknown keys are warnings, one for each key however often it occurs; wrong types are problems. */
export function parseMapping(text: string, file: string): LoadedMapping {
  const json = parseJson(text)
  if (!json.ok) {
    const message = `column ${json.column}: ${json.message}`
    return {
      mapping: undefined,
      problems: [problemOf('CM0801', message, { origin: { file, line: json.line } })],
      warnings: [],
    }
  }
  const origin = { file, line: null }
  const first = document.safeParse(json.value)
  const issues = first.error?.issues ?? []
  const unknown = issues.flatMap((issue) =>
    issue.code === 'unrecognized_keys' ? issue.keys.map((key) => [...issue.path, key].map(String)) : [],
  )
  const warnings = unknownKeys(unknown).map((message) => warningOf(message, { origin }))
  const problems = issues
    .filter((issue) => issue.code !== 'unrecognized_keys')
    .map((issue) => problemOf('CM0802', `${pathText(issue.path.map(String))}: ${issue.message}`, { origin }))
  if (problems.length > 0) return { mapping: undefined, problems, warnings }
  for (const path of unknown) remove(json.value, path)
  return { mapping: document.parse(json.value), problems, warnings }
}

/** Paths that differ only in the name of the worker type or service make one sentence. */
function unknownKeys(paths: readonly (readonly string[])[]): readonly string[] {
  const groups = new Map<string, string[]>()
  for (const path of paths) {
    const kind = path.length < 3 ? pathText(path) : pathText([path[0] ?? '', '*', ...path.slice(2)])
    groups.set(kind, [...(groups.get(kind) ?? []), pathText(path)])
  }
  return [...groups.values()].map(([first = '', ...others]) =>
    others.length === 0
      ? `${first} is not known`
      : `${first} is not known, nor are ${others.length} more: ${others.join(', ')}`,
  )
}

function pathText(path: readonly string[]): string {
  return path.length === 0 ? 'the document' : path.join('.')
}

function remove(value: unknown, path: readonly string[]): void {
  const [key, ...rest] = path
  if (key === undefined || typeof value !== 'object' || value === null) return
  if (rest.length === 0) Reflect.deleteProperty(value, key)
  else remove(Reflect.get(value, key), rest)
}
