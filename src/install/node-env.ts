/** Variables of a node with their values, and the names that have none. */
export interface ResolvedEnv {
  readonly values: Readonly<Record<string, string>>
  readonly missing: readonly string[]
}

const REFERENCE = /\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g
const BARE = /^[A-Z_][A-Z0-9_]*$/

/** Values of a node's env: `${VAR}`, `${VAR:-default}` within a text, or the bare name of a variable; other texts are literal. */
export function resolveEnv(
  env: Readonly<Record<string, string>>,
  lookUp: (name: string) => string | undefined,
): ResolvedEnv {
  const missing: string[] = []
  const read = (name: string, fallback?: string): string => {
    const value = lookUp(name)
    if (value === undefined && fallback === undefined) missing.push(name)
    return value ?? fallback ?? ''
  }
  const values = Object.entries(env).map(([name, text]): [string, string] => {
    if (BARE.test(text)) return [name, read(text)]
    return [name, text.replace(REFERENCE, (_all, variable: string, fallback?: string) => read(variable, fallback))]
  })
  return { values: Object.fromEntries(values), missing: [...new Set(missing)] }
}

/** Text of a `.env` file: every value quoted so that python-dotenv and a shell read it back unchanged. */
export function renderEnvFile(values: Readonly<Record<string, string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${quote(value)}\n`)
    .join('')
}

function quote(value: string): string {
  if (!/['\\\r\n]/.test(value)) return `'${value}'`
  const escaped = value.replace(/[\\"]/g, (character) => `\\${character}`)
  return `"${escaped.replace(/\n/g, '\\n').replace(/\r/g, '\\r')}"`
}
