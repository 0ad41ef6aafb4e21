/** A text with its variables filled in, or the names that have no value. */
export interface Expanded {
  readonly text: string
  readonly missing: readonly string[]
  /** What cannot be expanded at all. */
  readonly malformed: boolean
}

const REFERENCE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^{}]*))?\}/g

/** Fills in `${VAR}` and `${VAR:-default}`; an empty value counts as not set, as in sh. Values are not expanded again. */
export function expandVariables(template: string, values: Readonly<Record<string, string>>): Expanded {
  const missing: string[] = []
  const text = template.replace(REFERENCE, (_whole, name: string, fallback: string | undefined) => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined
    if (value !== undefined && value !== '') return value
    if (fallback === undefined) missing.push(name)
    return fallback ?? ''
  })
  return { text, missing, malformed: template.replace(REFERENCE, '').includes('${') }
}
