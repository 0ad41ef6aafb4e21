import * as z from 'zod'
import { MachineError } from '../errors.ts'
import { safeGitUrl, safeModelPath, safeModelUrl, safeName, safeRevision, safeVariable } from './component-safety.ts'
import { generationId, isGenerationId } from './generation.ts'
import type { MachineLock } from './machine-lock.ts'

const commit = z.string().regex(/^[0-9a-f]{40}$/, 'is not a commit id')
const hash = z.string().regex(/^[0-9a-f]{64}$/, 'is not a sha256')
const text = z.string().nullable()
const names = z.array(z.string())

const source = z.strictObject({ repoUrl: z.string(), ref: text, resolved: z.string(), commit })
const python = z.strictObject({
  interpreter: z.string(),
  version: z.string(),
  machine: z.string(),
  installer: z.enum(['uv', 'pip']),
  torchBackend: text,
})
const node = z.strictObject({
  name: z.string(),
  url: z.string(),
  branch: text,
  commit,
  pinned: z.boolean(),
  recursive: z.boolean(),
  requirements: z.boolean(),
  env: z.record(z.string(), z.string()),
  customScript: text,
  installOrder: z.number().nullable(),
  isDefault: z.boolean(),
  classes: names.exactOptional(),
  sources: names,
})
const model = z.strictObject({
  name: z.string(),
  url: text,
  path: text,
  bytes: z.number().int().nonnegative().nullable(),
  estimatedBytes: z.number().nonnegative(),
  sha256: hash.nullable(),
  authEnvVar: text,
  when: z.literal('after_start').exactOptional(),
  sources: names,
})
const lock = z.strictObject({
  schema: z.literal(1),
  generation: z.string().refine(isGenerationId, 'is not the id of a generation'),
  wish: z.string(),
  comfyui: source,
  python,
  nodes: z.array(node),
  requirements: z.string(),
  models: z.array(model),
  leftOut: z.array(z.strictObject({ name: z.string(), code: z.string(), message: z.string() })),
})

/**
 * A `machine.lock.json` that came from elsewhere. Throws CM1608 naming the place in the document that does not fit, also when
 * the id is not that of the content, and CM1607 for a name, path or URL that is not safe.
 */
export function parseLock(
  document: string,
  file: string,
  options: { readonly allowInsecure: boolean; readonly digest: (text: string) => string },
): MachineLock {
  const parsed = lock.safeParse(parseJson(document, file))
  if (!parsed.success) {
    const problems = parsed.error.issues.slice(0, 3).map(({ path, message }) => `${placeOf(path)}: ${message}`)
    throw new MachineError('CM1608', `${file}: ${problems.join('; ')}`)
  }
  const value: MachineLock = parsed.data
  checkSafety(value, options.allowInsecure)
  const id = generationId(value, options.digest)
  if (id !== value.generation) {
    throw new MachineError('CM1608', `${file}: generation is ${value.generation}, and its content is ${id}`)
  }
  return value
}

function parseJson(document: string, file: string): unknown {
  try {
    return JSON.parse(document)
  } catch (error) {
    throw new MachineError('CM1608', `${file} is not JSON`, { cause: error })
  }
}

function placeOf(path: readonly PropertyKey[]): string {
  return path.length === 0 ? 'the document' : path.map(String).join('.')
}

function checkSafety({ comfyui, nodes, models }: MachineLock, allowInsecure: boolean): void {
  safeGitUrl(comfyui.repoUrl, 'ComfyUI', allowInsecure)
  for (const { name, url, branch, env } of nodes) {
    safeName(name, 'custom node of the lock')
    safeGitUrl(url, name, allowInsecure)
    safeRevision(branch, name)
    for (const variable of Object.keys(env)) safeVariable(variable, `custom node ${name}`)
  }
  for (const { name, url, path, authEnvVar } of models) {
    safeName(name, 'model of the lock')
    safeModelUrl(url, name, allowInsecure)
    if (path !== null) safeModelPath(`models/${path}`, name)
    safeVariable(authEnvVar, `model ${name}`)
  }
}
