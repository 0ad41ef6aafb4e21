import * as z from 'zod'
import { MachineError } from '../errors.ts'

const text = z.string().nullish()
const flag = z
  .union([z.boolean(), z.literal(0), z.literal(1)])
  .nullish()
  .transform((value) => value === true || value === 1)

const nodeSchema = z.object({
  name: z.string(),
  repositoryUrl: z.string(),
  branch: text,
  commit: text,
  recursive: flag,
  requirements: flag,
  env: z.record(z.string(), z.string()).nullish(),
  custom_script: text,
  is_default: flag,
  install_order: z.number().nullish(),
  node_classes: z.array(z.string()).nullish(),
})

const modelObject = z.object({
  name: z.string(),
  downloadUrl: text,
  url: text,
  download_url: text,
  saveTo: text,
  fileSize: z.union([z.string(), z.number()]).nullish(),
  hash: text,
  isAuthReq: flag,
  authEnvVar: text,
  when: z.enum(['before_start', 'after_start']).nullish(),
})
const modelSchema = z.union([z.string(), modelObject])

const dependencies = {
  models: z.array(modelSchema).nullish(),
  custom_nodes: z.array(nodeSchema).nullish(),
}
const defaultsSchema = z.array(nodeSchema)
const workflowsSchema = z.array(z.object({ workflow_name: z.string(), ...dependencies }))
const collectionsSchema = z.array(z.object({ collection_id: z.union([z.string(), z.number()]), ...dependencies }))

/** A custom node as the component API tells of it. */
export type ApiNode = z.infer<typeof nodeSchema>
/** A model as the component API tells of it. */
export type ApiModel = z.infer<typeof modelSchema>
/** What one workflow depends on. */
export type ApiWorkflow = z.infer<typeof workflowsSchema>[number]
/** What one collection depends on. */
export type ApiCollection = z.infer<typeof collectionsSchema>[number]

/** Answer of `GET /custom-nodes/defaults`. Throws CM1604 with the path that does not fit. */
export function parseDefaults(data: unknown): readonly ApiNode[] {
  return check(defaultsSchema, data, 'GET /custom-nodes/defaults')
}

/** Answer of `POST /workflows/dependencies`. Throws CM1604. */
export function parseWorkflows(data: unknown): readonly ApiWorkflow[] {
  return check(workflowsSchema, data, 'POST /workflows/dependencies')
}

/** Answer of `POST /collections/dependencies`. Throws CM1604. */
export function parseCollections(data: unknown): readonly ApiCollection[] {
  return check(collectionsSchema, data, 'POST /collections/dependencies')
}

function check<T>(schema: z.ZodType<T>, data: unknown, call: string): T {
  const result = schema.safeParse(data)
  if (result.success) return result.data
  const problems = result.error.issues
    .flatMap(closest)
    .slice(0, 3)
    .map(({ path, message }) => `data.${path.join('.')}: ${message}`)
  throw new MachineError('CM1604', `${call}: ${problems.join('; ')}`)
}

// Of the shapes that a value may have, the one that fits best tells where it does not.
function closest(issue: z.core.$ZodIssue): readonly Pick<z.core.$ZodIssue, 'path' | 'message'>[] {
  if (issue.code !== 'invalid_union') return [issue]
  const inner = issue.errors.find((issues) => issues.length > 0 && issues.every(({ path }) => path.length > 0))
  return inner?.map(({ path, message }) => ({ path: [...issue.path, ...path], message })) ?? [issue]
}
