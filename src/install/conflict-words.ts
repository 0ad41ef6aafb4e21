import type { OwnedLine } from './requirement-files.ts'
import { type Edge, edgesOf, mentionedNames } from './resolver-output.ts'

const LONGEST = 200

interface Want {
  readonly line: OwnedLine
  /** From what the line names to what is contested. */
  readonly path: readonly Edge[]
  readonly isExact: boolean
}

/**
 * Who wants what, one sentence a line: `custom node a wants numpy<2 (requirements.txt:3)`, and through what where it is not
 * wanted directly. `goals` are the packages in dispute; by default those that two of the lines and edges want.
 */
export function wantsOf(lines: readonly OwnedLine[], words: string, goals?: readonly string[]): readonly string[] {
  const edges = edgesOf(words)
  const inDispute = (name: string): boolean => (goals ?? disputed(lines, edges)).includes(name)
  const known = new Set(lines.map(({ name }) => name))
  const mentioned = mentionedNames(words, known)
  const wants = lines
    .filter(({ name }) => mentioned.includes(name))
    .flatMap((line): readonly Want[] => {
      const path = pathTo(line.name, edges, inDispute)
      return path === undefined ? [{ line, path: [], isExact: false }] : [{ line, path, isExact: true }]
    })
  const owners = [...new Set(wants.map(({ line }) => line.owner))]
  return owners.flatMap((owner) => {
    const own = wants.filter(({ line }) => line.owner === owner)
    const exact = own.filter(({ isExact }) => isExact)
    return (exact.length > 0 ? exact : own).slice(0, 3).map(sentenceOf)
  })
}

function sentenceOf({ line, path }: Want): string {
  const through = path.map(({ to, spec }) => `, which wants ${to}${spec}`).join('')
  const text = line.text.replace(/:\/\/[^@/\s]*@/g, '://').slice(0, LONGEST)
  return `${line.owner} wants ${text} (${line.file}:${line.number})${through}`
}

function disputed(lines: readonly OwnedLine[], edges: readonly Edge[]): readonly string[] {
  const wanting = new Map<string, Set<string>>()
  const add = (name: string, by: string): void => {
    wanting.set(name, (wanting.get(name) ?? new Set()).add(by))
  }
  for (const { owner, file, number, name } of lines) add(name, `${owner}\0${file}:${number}`)
  for (const { from, to } of edges) add(to, from)
  return [...wanting].filter(([, by]) => by.size > 1).map(([name]) => name)
}

/** The shortest way from a package to one in dispute; none when it is in dispute itself, undefined when there is no way. */
function pathTo(start: string, edges: readonly Edge[], isGoal: (name: string) => boolean): readonly Edge[] | undefined {
  const seen = new Set([start])
  const open: { readonly at: string; readonly path: readonly Edge[] }[] = [{ at: start, path: [] }]
  for (let next = open.shift(); next !== undefined; next = open.shift()) {
    if (isGoal(next.at)) return next.path
    for (const edge of edges) {
      if (edge.from !== next.at || seen.has(edge.to)) continue
      seen.add(edge.to)
      open.push({ at: edge.to, path: [...next.path, edge] })
    }
  }
  return undefined
}
