import path from 'node:path'
import type { RequirementsFile } from '../host/install-ports.ts'
import type { Files } from '../host/ports.ts'
import { decodeRequirements, parseRequirements } from './requirement-lines.ts'

/** A requirement and who wants it; `file` is relative to the directory of the owner's requirements file. */
export interface OwnedLine {
  readonly owner: string
  readonly file: string
  readonly number: number
  readonly text: string
  /** Normalised; empty where only the resolver can tell. */
  readonly name: string
}

/** Why a requirements file cannot be used; `number` is null when it is not about one line. */
export interface RequirementProblem {
  readonly owner: string
  readonly file: string
  readonly number: number | null
  readonly reason: string
}

/** What requirement files say, with all files that they include. */
export interface ReadRequirements {
  readonly lines: readonly OwnedLine[]
  /** Options that name indexes, each once; what a file calls its index is only a further one, as there are other files. */
  readonly indexes: readonly string[]
  /** A file replaces the index of packages, which would hold for all. */
  readonly isIndexReplaced: boolean
  readonly problems: readonly RequirementProblem[]
}

/** What is needed of the host to read requirement files. */
export type RequirementReader = Pick<Files, 'readBytes' | 'lstat' | 'readLink'>

const LARGEST_BYTES = 2 ** 20

/** Reads requirement files. What a file includes must lie below its own directory, and every file must be text. */
export async function readRequirements(
  files: RequirementReader,
  wanted: readonly RequirementsFile[],
  installer: 'uv' | 'pip',
): Promise<ReadRequirements> {
  const lines: OwnedLine[] = []
  const indexes = new Set<string>()
  let isIndexReplaced = false
  const problems: RequirementProblem[] = []
  for (const { owner, path: start } of wanted) {
    const root = path.dirname(start)
    const seen = new Set<string>()
    const read = async (file: string, from: { readonly file: string; readonly number: number } | null) => {
      if (seen.has(file)) return
      seen.add(file)
      const text = await readInside(files, root, file)
      const shown = path.relative(root, file)
      if (text.problem !== undefined) {
        const about = from === null ? text.problem : `${shown} ${text.problem}`
        problems.push({ owner, file: from?.file ?? shown, number: from?.number ?? null, reason: about })
        return
      }
      for (const line of parseRequirements(text.text)) {
        const { number } = line
        if (line.kind === 'refused') problems.push({ owner, file: shown, number, reason: line.reason })
        if (line.kind === 'index') {
          const isReplacing = line.option === '--index-url'
          if (isReplacing && installer === 'pip') {
            problems.push({ owner, file: shown, number, reason: 'with pip its index would be that of all' })
          }
          isIndexReplaced ||= isReplacing
          indexes.add(`${isReplacing ? '--extra-index-url' : line.option} ${line.url}`)
        }
        if (line.kind === 'requirement') {
          lines.push({ owner, file: shown, number, text: line.text, name: line.name })
        }
        if (line.kind === 'include') {
          await read(path.resolve(path.dirname(file), line.target), { file: shown, number })
        }
      }
    }
    await read(start, null)
  }
  return { lines, indexes: [...indexes], isIndexReplaced, problems }
}

/** One sentence about a problem, which names the owner, the file and the line. */
export function problemSentence({ owner, file, number, reason }: RequirementProblem): string {
  return `${owner}: ${file}${number === null ? '' : `:${number}`}: ${reason}`
}

type Content =
  | { readonly text: string; readonly problem?: undefined }
  | { readonly problem: string; readonly text?: undefined }

async function readInside(files: RequirementReader, root: string, file: string): Promise<Content> {
  const isInside = (place: string): boolean => place === root || place.startsWith(`${root}${path.sep}`)
  if (!isInside(file)) return { problem: 'is outside of its directory' }
  let place = file
  let stat = await files.lstat(place)
  if (stat?.kind === 'symlink') {
    place = path.resolve(path.dirname(file), (await files.readLink(file)) ?? '')
    if (!isInside(place)) return { problem: 'is a link to the outside of its directory' }
    stat = await files.lstat(place)
  }
  if (stat === undefined) return { problem: 'does not exist' }
  if (stat.kind !== 'file') return { problem: 'is no file' }
  if (stat.bytes > LARGEST_BYTES) return { problem: 'is larger than 1 MiB' }
  const text = decodeRequirements((await files.readBytes(place, 0, LARGEST_BYTES)) ?? new Uint8Array())
  return text === undefined ? { problem: 'is no text in UTF-8' } : { text }
}
