const SECTIONS: ReadonlySet<string> = new Set(['Unit', 'Service', 'Socket', 'Path', 'Timer', 'Install', 'X-Comfy'])
// Lists that are emptied by an empty value on purpose, systemd.exec(5).
const MAY_BE_EMPTY: ReadonlySet<string> = new Set(['CapabilityBoundingSet'])

/** What is wrong with the shape of a unit file (systemd.syntax(7)); empty when nothing is. */
export function verifyUnit(text: string): readonly string[] {
  const problems: string[] = []
  let section: string | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const at = `line ${index + 1}`
    if (line.trim() === '' || line.startsWith('#')) continue
    const heading = /^\[([A-Za-z-]+)\]$/.exec(line)?.[1]
    if (heading !== undefined) {
      if (!SECTIONS.has(heading)) problems.push(`${at}: unknown section [${heading}]`)
      section = heading
      continue
    }
    const [, key, value] = /^([A-Z][A-Za-z]*)=(.*)$/s.exec(line) ?? []
    if (key === undefined || value === undefined) problems.push(`${at}: not a directive: ${line}`)
    else if (section === undefined) problems.push(`${at}: ${key}= stands outside a section`)
    else if (value === '' && !MAY_BE_EMPTY.has(key)) problems.push(`${at}: ${key}= has no value`)
    else if (value.endsWith('\\')) problems.push(`${at}: ${key}= ends in a continuation`)
  }
  return problems
}
