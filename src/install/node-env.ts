import { join } from 'node:path'
import { placesOf } from '../plan/places.ts'
import type { WantedNode } from './components.ts'
import type { InstallContext } from './context.ts'

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

/** The env of a node with every value, those of secrets too. */
export function nodeEnv({ plan, host }: InstallContext, node: WantedNode): ResolvedEnv {
  return resolveEnv(node.env, (name) => host.secrets.read(name) ?? plan.environment[name])
}

/** The variables of a node that need no secret: what its install scripts may know. */
export function publicEnv({ plan }: InstallContext, node: WantedNode): Readonly<Record<string, string>> {
  const entries = Object.entries(node.env).flatMap(([name, text]): readonly (readonly [string, string])[] => {
    const isSecret = plan.secretNames.some((secret) => text === secret || text.includes(`\${${secret}`))
    const { values, missing } = resolveEnv({ [name]: text }, (variable) => plan.environment[variable])
    return isSecret || missing.length > 0 ? [] : [[name, values[name] ?? '']]
  })
  return Object.fromEntries(entries)
}

/** Where the `.env` of a node lies; the one in its directory is a link to it. */
export function envFile(workspace: string, node: string): string {
  return join(placesOf(workspace).nodeEnv, `${node}.env`)
}

/** Writes the `.env` files of nodes that have values, each only when it says something else than before. */
export async function writeEnvFiles(context: InstallContext, nodes: readonly WantedNode[]): Promise<void> {
  const { files } = context.host
  const { workspace } = context.plan.paths
  const wanted = nodes.filter(({ env }) => Object.keys(env).length > 0)
  if (wanted.length > 0) await files.makeDirectory(placesOf(workspace).nodeEnv, 0o750)
  for (const node of wanted) {
    const path = envFile(workspace, node.name)
    const text = renderEnvFile(nodeEnv(context, node).values)
    if ((await files.readText(path)) !== text) await files.writeText(path, text, { mode: 0o640 })
  }
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
