/** One line of a requirements file that matters; lines are counted from 1, a continued one by its first. */
export type RequirementLine =
  | { readonly kind: 'requirement'; readonly number: number; readonly text: string; readonly name: string }
  | { readonly kind: 'include'; readonly number: number; readonly target: string }
  | { readonly kind: 'index'; readonly number: number; readonly option: IndexOption; readonly url: string }
  | { readonly kind: 'refused'; readonly number: number; readonly reason: string }

/** An option that names a place to get packages from. */
type IndexOption = '--index-url' | '--extra-index-url' | '--find-links'

const OPTION =
  /^(-r|--requirement|-c|--constraint|-e|--editable|-i|--index-url|--extra-index-url|-f|--find-links)(?:\s*=\s*|\s+|(?<=^-[rceif])(?=[^\s=-]))(.*)$/
const FOR_ALL = /^--(no-index|require-hashes|(no|only)-binary[\s=]+:all:)$/
const INDEX: Readonly<Record<string, IndexOption>> = {
  '-i': '--index-url',
  '--index-url': '--index-url',
  '--extra-index-url': '--extra-index-url',
  '-f': '--find-links',
  '--find-links': '--find-links',
}
const LOCAL = 'it names a path, and packages are taken from an index, an address or a repository only'

/** Text of a requirements file in UTF-8, or in UTF-16 with a byte order mark; undefined when it is no text. */
export function decodeRequirements(bytes: Uint8Array): string | undefined {
  const [first, second] = bytes
  const encoding =
    first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8'
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes)
    return text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}

/** Reads the format of pip's requirement files; other options than those of `RequirementLine` are left to the resolver. */
export function parseRequirements(text: string): readonly RequirementLine[] {
  return joinedLines(text).flatMap(({ number, text: line }) => {
    const option = OPTION.exec(line)
    if (option !== null) return optionLine(number, option[1] ?? '', unquoted(option[2] ?? ''))
    if (FOR_ALL.test(line)) return [{ kind: 'refused', number, reason: `${line} would hold for all custom nodes` }]
    if (line.startsWith('-')) return []
    return requirementLine(number, line)
  })
}

/** A package name as indexes compare it (PEP 503). */
export function normaliseName(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-')
}

function joinedLines(text: string): readonly { readonly number: number; readonly text: string }[] {
  const lines: { number: number; text: string }[] = []
  let open: { number: number; text: string } | undefined
  for (const [index, physical] of text.split(/\r\n|\n|\r/).entries()) {
    const isContinued = physical.endsWith('\\') && !/^\s*#/.test(physical)
    const own = isContinued ? physical.slice(0, -1) : physical
    open = open === undefined ? { number: index + 1, text: own } : { ...open, text: open.text + own }
    if (isContinued) continue
    lines.push(open)
    open = undefined
  }
  if (open !== undefined) lines.push(open)
  return lines
    .map(({ number, text: line }) => ({ number, text: line.replace(/(^|\s)#.*$/, '').trim() }))
    .filter(({ text: line }) => line !== '')
}

function optionLine(number: number, option: string, value: string): readonly RequirementLine[] {
  const refused = (reason: string): readonly RequirementLine[] => [{ kind: 'refused', number, reason }]
  if (option === '-e' || option === '--editable')
    return refused('-e is not supported, name the package or its repository without it')
  const index = INDEX[option]
  if (index === undefined) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(value)) return refused(`${option} of an address is not supported`)
    return [{ kind: 'include', number, target: value }]
  }
  if (!/^https?:\/\//i.test(value)) return refused(`${option} wants an address that begins with https:`)
  return [{ kind: 'index', number, option: index, url: value }]
}

function requirementLine(number: number, line: string): readonly RequirementLine[] {
  const text = line.replace(/\s+--[a-z][\s\S]*$/, '')
  const [, named, address] = /^([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*@\s*(\S+)/.exec(text) ?? []
  const place = address ?? (isPlace(text) ? text : undefined)
  if (place !== undefined && isLocal(place)) return [{ kind: 'refused', number, reason: LOCAL }]
  const name = named ?? (place === undefined ? /^[A-Za-z0-9][\w.-]*/.exec(text)?.[0] : nameOfPlace(place)) ?? ''
  if (name === '' && place === undefined) {
    return [{ kind: 'refused', number, reason: `“${text.slice(0, 80)}” is no requirement` }]
  }
  return [{ kind: 'requirement', number, text, name: normaliseName(name.replace(/[-_.]+$/, '')) }]
}

function isPlace(text: string): boolean {
  return /^[a-z][a-z0-9+.-]*:|^[./~\\]|^[^\s;@<>=!~]*[/\\]|^[^\s;@<>=!~]+\.(whl|zip|tar\.\w+)(\s|;|$)/i.test(text)
}

function isLocal(place: string): boolean {
  return !/^(git|hg|svn|bzr)\+(?!file:)[a-z+]+:|^(https?|ftp|git|ssh):/i.test(place)
}

function nameOfPlace(place: string): string | undefined {
  const egg = /[#&]egg=([A-Za-z0-9][\w.-]*)/.exec(place)?.[1]
  return egg ?? /\/([A-Za-z0-9]\w*(?:\.\w+)*)-[^/]*\.whl(?:[#?]|$)/.exec(place)?.[1]
}

function unquoted(value: string): string {
  return value.trim().replace(/^(["'])(.*)\1$/, '$2')
}
