import { basename, join } from 'node:path'
import type { ConfigSource } from '../config/collect.ts'
import type { MappingSource } from '../config/load-mapping.ts'
import { isVariableName } from '../config/parse-env.ts'
import { type Problem, problemOf } from '../config/problem.ts'
import { isKnownName } from '../config/variables.ts'
import { messageOf } from '../errors.ts'
import type { Files } from './ports.ts'

const DIRECTORY = '/etc/comfy-machine'
const CREDENTIAL_PREFIX = 'comfy-machine.'
/** A credential of this name is a whole file of secrets, not the value of one. */
const CREDENTIAL_FILES = ['secrets', 'secrets.env']

/** The sources of the configuration in the order of rising precedence, and those that could not be read. */
export interface ConfigSources {
  readonly sources: readonly ConfigSource[]
  readonly problems: readonly Problem[]
}

/**
 * Reads what configures this machine: the process environment (known names only), machine.env, secrets.env, the files
 * of `--env-file`, and systemd credentials `comfy-machine.NAME`. A missing file of --env-file, or any file that cannot
 * be read, is a CM0304.
 */
export async function readConfigSources(
  files: Files,
  envFiles: readonly string[] = [],
  env: NodeJS.ProcessEnv = process.env,
): Promise<ConfigSources> {
  const sources: ConfigSource[] = [{ kind: 'environment', name: 'environment', values: knownVariables(env) }]
  const problems: Problem[] = []
  const read = async (path: string, kind: 'machine' | 'secrets', wanted: boolean): Promise<void> => {
    try {
      const text = await files.readText(path)
      if (text === undefined) {
        if (wanted)
          problems.push(problemOf('CM0304', 'the file does not exist', { origin: { file: path, line: null } }))
        return
      }
      const stat = kind === 'secrets' && !wanted ? await files.stat(path) : undefined
      const exposure = stat === undefined ? {} : { mode: stat.mode & 0o777, uid: stat.uid }
      sources.push(kind === 'secrets' ? { kind, name: path, text, ...exposure } : { kind, name: path, text })
    } catch (thrown) {
      problems.push(problemOf('CM0304', messageOf(thrown), { origin: { file: path, line: null } }))
    }
  }
  await read(join(DIRECTORY, 'machine.env'), 'machine', false)
  await read(join(DIRECTORY, 'secrets.env'), 'secrets', false)
  for (const path of envFiles) await read(path, basename(path).includes('secret') ? 'secrets' : 'machine', true)
  sources.push(...(await readCredentials(files, env['CREDENTIALS_DIRECTORY'])))
  return { sources, problems }
}

/** Reads service-mapping.json. */
export async function readMappingSource(files: Files): Promise<MappingSource> {
  const file = join(DIRECTORY, 'service-mapping.json')
  try {
    const text = (await files.readText(file)) ?? null
    return { file, text, reason: 'the file does not exist' }
  } catch (thrown) {
    return { file, text: null, reason: messageOf(thrown) }
  }
}

async function readCredentials(files: Files, directory: string | undefined): Promise<readonly ConfigSource[]> {
  if (directory === undefined) return []
  const sources: ConfigSource[] = []
  for (const file of await files.list(directory)) {
    const name = file.startsWith(CREDENTIAL_PREFIX) ? file.slice(CREDENTIAL_PREFIX.length) : ''
    const text = name === '' ? undefined : await files.readText(join(directory, file))
    if (text === undefined) continue
    if (CREDENTIAL_FILES.includes(name)) sources.push({ kind: 'secrets', name: `credential ${file}`, text })
    else if (isVariableName(name)) {
      sources.push({ kind: 'credential', name: `credential ${file}`, values: { [name]: text.replace(/\n$/, '') } })
    }
  }
  return sources
}

function knownVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const values: Record<string, string> = {}
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && isKnownName(name)) values[name] = value
  }
  return values
}
