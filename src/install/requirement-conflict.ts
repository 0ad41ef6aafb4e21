import path from 'node:path'
import { type ErrorType, MachineError } from '../errors.ts'
import type { PythonEnvironments, RequirementsFile, Resolution } from '../host/install-ports.ts'
import { smallestConflict } from './conflict-search.ts'
import { wantsOf } from './conflict-words.ts'
import {
  type OwnedLine,
  problemSentence,
  type ReadRequirements,
  type RequirementReader,
  readRequirements,
} from './requirement-files.ts'
import { mentionedNames, missingNames, networkFailure } from './resolver-output.ts'

/** A resolution that came to nothing. */
export type FailedResolution = Extract<Resolution, { readonly ok: false }>

/** Why requirement files do not resolve: what to report, and the owners whose files are at fault, in the order of the files. */
export interface ResolutionFault {
  readonly error: MachineError
  readonly owners: readonly string[]
}

/** What an explanation may use; `onTry` is called before each further resolution, of which there are at most `limit`. */
export interface ConflictTools {
  readonly python: Pick<PythonEnvironments, 'resolve' | 'installer'>
  readonly files: RequirementReader
  readonly onTry: (tried: number) => void
  readonly limit?: number
}

const TRIES = 48

/**
 * Says whose requirements are at fault when `wanted` did not resolve together: CM1706 with the lines that contradict each
 * other, CM1707 for a file that is none, CM1703 for a package that does not exist or cannot be built, CM1403 when the
 * network is at fault. Further resolutions prove it.
 */
export async function explainConflict(
  tools: ConflictTools,
  wanted: readonly RequirementsFile[],
  failed: FailedResolution,
): Promise<ResolutionFault> {
  const read = await readRequirements(tools.files, wanted, tools.python.installer)
  if (failed.reason === 'invalid') return explainInvalid(read, wanted, failed)
  if (failed.reason === 'failed') return explainFailure(read, failed)
  const known = new Set(read.lines.map(({ name }) => name))
  const { smallest, words } = await smallestConflict({
    files: wanted,
    words: failed.detail,
    limit: tools.limit ?? TRIES,
    suspects: (said) => suspectsOf(read.lines, said, known),
    resolve: (files, tried) => {
      tools.onTry(tried)
      return tools.python.resolve(files)
    },
  })
  const owners = smallest.map(({ owner }) => owner)
  const lines = read.lines.filter(({ owner }) => owners.includes(owner))
  const missing = missingNames(words)
  const [only] = owners
  if (owners.length === 1 && only !== undefined && missing.length > 0) {
    const wants = wantsOf(lines, words, missing)
    const text = wants.length > 0 ? wants.join('; ') : `${only} wants ${missing.join(', ')}`
    return faultOf('CM1703', `${text}, which no package index has`, owners, words)
  }
  const wants = wantsOf(lines, words)
  const named = owners.filter((owner) => !wants.some((want) => want.startsWith(`${owner} wants `)))
  const rest = named.length === 0 ? [] : [`${named.join(', ')}: ${shortened(words)}`]
  return faultOf('CM1706', [...wants, ...rest].join('; '), owners, words)
}

function shortened(words: string): string {
  return words.length <= 600 ? words : `${words.slice(0, 599)}…`
}

/** Files that name what the resolver speaks of, those first that name a package it did not find. */
function suspectsOf(lines: readonly OwnedLine[], words: string, known: ReadonlySet<string>): readonly string[][] {
  const ownersOf = (names: readonly string[]): string[] => [
    ...new Set(lines.filter(({ name }) => names.includes(name)).map(({ owner }) => owner)),
  ]
  const missing = ownersOf(missingNames(words)).map((owner) => [owner])
  return [...missing.slice(0, 4), ownersOf(mentionedNames(words, known))]
}

function explainInvalid(
  { problems }: ReadRequirements,
  wanted: readonly RequirementsFile[],
  { detail, owner }: FailedResolution,
): ResolutionFault {
  const ofProblems = new Set(problems.map((problem) => problem.owner))
  if (ofProblems.size > 0) return faultOf('CM1707', problems.map(problemSentence).join('; '), [...ofProblems], detail)
  const named = owner ?? wanted.find((file) => detail.includes(file.path))?.owner
  const said = wanted.reduce((text, { path: file }) => text.replaceAll(file, path.basename(file)), detail)
  const text = named === undefined ? said : `${named}: ${said}`
  return faultOf('CM1707', shortened(text), named === undefined ? [] : [named], detail)
}

function explainFailure({ lines }: ReadRequirements, { detail }: FailedResolution): ResolutionFault {
  const type = networkFailure(detail)
  // Names in quotes are what could not be fetched or built; the rest of the words is its output.
  const quoted = [...detail.matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? '').join(' ')
  const names = mentionedNames(quoted, new Set(lines.map(({ name }) => name)))
  const culprits = lines.filter(({ name }) => name === names[0])
  const owners = [...new Set(culprits.map(({ owner }) => owner))]
  const isOfAddress = culprits.some(({ text }) => text.includes('://'))
  if (type !== undefined && !isOfAddress) return faultOf('CM1403', shortened(detail), [], detail, type)
  const [first] = wantsOf(culprits, detail)
  const text = first === undefined ? shortened(detail) : `${first}: ${shortened(detail)}`
  return faultOf('CM1703', text, owners, detail, type)
}

function faultOf(
  code: 'CM1403' | 'CM1703' | 'CM1706' | 'CM1707',
  message: string,
  owners: readonly string[],
  words: string,
  type?: ErrorType,
): ResolutionFault {
  const options = { cause: new Error(words), ...(type === undefined ? {} : { type }) }
  return { error: new MachineError(code, message, options), owners }
}
