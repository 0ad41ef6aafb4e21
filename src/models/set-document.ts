import * as z from 'zod'
import { MachineError, messageOf } from '../errors.ts'
import { safeModelPath, safeName } from '../install/component-safety.ts'

/** Name of the document of an exported set. */
export const SET_FILE = 'index.json'

/** One model of a set; its content is `blobs/sha256/<sha256>`. */
export interface SetModel {
  readonly name: string
  /** Relative to the models folder. */
  readonly path: string
  readonly sha256: string
  readonly bytes: number
}

/** `index.json` of an exported set. */
export interface SetDocument {
  readonly schema: 1
  readonly models: readonly SetModel[]
}

const model = z.strictObject({
  name: z.string(),
  path: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, 'is not a sha256'),
  bytes: z.number().int().nonnegative(),
})
const document = z.strictObject({ schema: z.literal(1), models: z.array(model) })

/** The text of a set's document, sorted by path. */
export function renderSet(models: readonly SetModel[]): string {
  const set: SetDocument = { schema: 1, models: models.toSorted((a, b) => (a.path < b.path ? -1 : 1)) }
  return `${JSON.stringify(set, null, 2)}\n`
}

/**
 * Reads the document of a set that came from elsewhere. Throws CM1813 naming the place in it that does not fit, also for a
 * path that leaves the models folder and for two models of one path.
 */
export function parseSet(text: string, file: string): SetDocument {
  const parsed = document.safeParse(parseJson(text, file))
  if (!parsed.success) {
    const problems = parsed.error.issues.slice(0, 3).map(({ path, message }) => `${placeOf(path)}: ${message}`)
    throw new MachineError('CM1813', `${file}: ${problems.join('; ')}`)
  }
  const paths = new Set<string>()
  for (const [index, { name, path }] of parsed.data.models.entries()) {
    const place = `${file}: models.${index}`
    checkPlace(place, name, path)
    if (paths.has(path)) throw new MachineError('CM1813', `${place}: ${path} is there twice`)
    paths.add(path)
  }
  return parsed.data
}

function checkPlace(place: string, name: string, path: string): void {
  try {
    safeName(name, 'the model')
    safeModelPath(`models/${path}`, name)
  } catch (error) {
    throw new MachineError('CM1813', `${place}: ${messageOf(error)}`, { cause: error })
  }
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new MachineError('CM1813', `${file} is not JSON`, { cause: error })
  }
}

function placeOf(path: readonly PropertyKey[]): string {
  return path.length === 0 ? 'the document' : path.map(String).join('.')
}
