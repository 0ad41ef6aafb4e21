import type { ErrorType } from '../errors.ts'
import { normaliseName } from './requirement-lines.ts'

/** One package wants another, as a resolver says it; `spec` is empty where any version will do. */
export interface Edge {
  readonly from: string
  readonly to: string
  readonly spec: string
}

const LONGEST = 8000
const CAUSED = 'The conflict is caused by:'
const USELESS = /^(\[notice\]|ERROR: ResolutionImpossible|To fix this|\d\. (loosen|remove))/
const NETWORK =
  /error sending request|Failed to fetch:|NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Connection (?:refused|reset|broken)|Could not resolve host|unable to access/i
const NAME = '[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?'
const SPEC = '(?:[<>=!~]=?=?\\s?[0-9A-Za-z.*+!_-]*[0-9A-Za-z*](?:,\\s?)?)+'

/** What kind of failure uv or pip tells of: its requirements disagree, a file is none, or something else. */
export function failureKind(output: string): 'conflict' | 'invalid' | 'failed' {
  if (networkFailure(output) !== undefined) return 'failed'
  if (/No solution found|ResolutionImpossible|conflicting dependencies|No matching distribution found/.test(output)) {
    return 'conflict'
  }
  const isNone =
    /Couldn't parse requirement|failed to decode file|Error parsing included file|Unexpected '.*', expected|Invalid requirement|Could not open requirements file|does not match .* in the distribution filename|filename .* is invalid|no such option/
  return isNone.test(output) ? 'invalid' : 'failed'
}

/** The type of failure when the network is at fault; undefined when it is not. */
export function networkFailure(output: string): ErrorType | undefined {
  if (!NETWORK.test(output)) return undefined
  if (/dns error|resolve host|Name or service not known|name resolution/i.test(output)) return 'dns_failure'
  if (/certificate|SSLError|tls/i.test(output)) return 'tls_failure'
  if (/\b40[13]\b/.test(output)) return 'auth_failed'
  if (/HTTP status/.test(output)) return 'http_error'
  return /timed? ?out|Timeout/i.test(output) ? 'network_timeout' : 'network_unreachable'
}

/** What a resolver said of the reason, in one line without passwords, at most 8000 characters. */
export function resolverWords(output: string): string {
  const lines = output.split('\n').map((line) => line.trim())
  const begin = lines.findIndex((line) => /^(error|ERROR): /.test(line))
  const caused = lines.indexOf(CAUSED)
  // pip writes what caused a conflict to stdout, and only the fact to stderr.
  const causes = caused < 0 ? [] : lines.slice(caused, lines.indexOf('', caused))
  const said = [...(begin < 0 ? lines : lines.slice(begin)), ...(caused < begin ? causes : [])]
  const refused = NETWORK.test(output) ? lines.filter((line) => /^WARNING: Retrying/.test(line)).slice(-1) : []
  // Of a build that fails pip does not say whose it is.
  const collected = /^\s*error: (subprocess-exited|metadata-generation|legacy-install)/m.test(output)
    ? lines.filter((line) => /^Collecting /.test(line)).slice(-1)
    : []
  const chosen = [...said, ...refused, ...collected.map((line) => `\`${line}\``)].filter(
    (line) => line !== '' && !USELESS.test(line),
  )
  return (begin < 0 ? chosen.slice(-8) : chosen)
    .join(' ')
    .replace(/^(error|ERROR): /, '')
    .replace(/\s+/g, ' ')
    .replace(/:\/\/[^@/\s]*@/g, '://')
    .slice(0, LONGEST)
}

/** Normalised names of packages among `known` that a resolver speaks of, in its order. */
export function mentionedNames(words: string, known: ReadonlySet<string>): readonly string[] {
  const names = [...words.matchAll(new RegExp(NAME, 'g'))].map(([name]) => normaliseName(name.replace(/==?.*$/, '')))
  return [...new Set(names)].filter((name) => known.has(name))
}

/** Names that a resolver did not find at all, or not in a version that is wanted. */
export function missingNames(words: string): readonly string[] {
  const patterns = [
    `(${NAME}) was not found`,
    `there (?:is|are) no versions? of (${NAME})`,
    `only (${NAME})(?:\\[[^\\]]*\\])?${SPEC} (?:is|are) available`,
    `No matching distribution found for (${NAME})`,
    `(${NAME})(?:${SPEC})? has no (?:wheels|source)`,
  ]
  const found = patterns.flatMap((pattern) =>
    [...words.matchAll(new RegExp(pattern, 'g'))].map(([, name]) => name ?? ''),
  )
  return [...new Set(found.map(normaliseName))]
}

/** Which package wants which, as far as a resolver says so. */
export function edgesOf(words: string): readonly Edge[] {
  const target = `(${NAME})(?:\\[[^\\]]*\\])?(${SPEC})?`
  const wanting = `(${NAME})(?:\\[[^\\]]*\\])?(?:${SPEC}| [0-9][^ ]*)? depends? on`
  const alone = [...words.matchAll(new RegExp(`${wanting} (?!one of:)${target}`, 'g'))].map(
    ([, from = '', to = '', spec = '']) => edgeOf(from, to, spec),
  )
  const oneOf = [...words.matchAll(new RegExp(`${wanting} one of: ((?:${NAME}${SPEC} ?)+)`, 'g'))].flatMap(
    ([, from = '', ranges = '']) => {
      const all = [...ranges.matchAll(new RegExp(target, 'g'))]
      const [first, last] = [all[0], all.at(-1)]
      return first === undefined ? [] : edgeOf(from, first[1] ?? '', `${first[2] ?? ''} … ${last?.[2] ?? ''}`)
    },
  )
  return [...alone, ...oneOf]
}

function edgeOf(from: string, to: string, spec: string): Edge {
  return { from: normaliseName(from), to: normaliseName(to), spec: spec.replace(/,\s+/g, ',').replace(/,$/, '') }
}
