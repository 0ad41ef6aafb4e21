import path from 'node:path'
import { packageVariables } from './python-packages.ts'
import type { ReadRequirements } from './requirement-files.ts'

/** Where programs are looked for. */
export const SEARCH_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Where torch's own builds lie, one index below it for each. */
const TORCH_INDEXES = 'https://download.pytorch.org/whl'

const PUBLIC_INDEX = 'https://pypi.org/simple'

/** A program with its arguments, and what its variables are where those of every program do not say. */
export interface Command {
  readonly argv: readonly [string, ...string[]]
  readonly defaults?: Readonly<Record<string, string>>
  /** Variables that it must not have. */
  readonly without?: readonly string[]
}

/** Bounds of the operator's, which a resolution has kept to; beside pins with hashes uv takes them for further requirements. */
const BOUNDS = ['PIP_CONSTRAINT', 'UV_CONSTRAINT', 'UV_OVERRIDE', 'UV_EXCLUDE']

/** What environments are made and filled with. */
export interface PythonTools {
  readonly installer: 'uv' | 'pip'
  readonly python: string
  readonly uv: string
  /** Where the host keeps wheels of pip. */
  readonly wheels: string
  /** The wheel of pip that is there; null when none is. */
  readonly pip: string | null
  readonly torchBackend: string | null
  /** false: only wheels are installed, so that no program of a package runs. */
  readonly mayBuild: boolean
}

/** What the variables of every program are made of. */
export interface VariableSources {
  readonly cache: string
  readonly variables: Readonly<Record<string, string>>
  readonly environment: Readonly<Record<string, string>>
  readonly allowInsecure: boolean
}

/** Variables of every program but HOME: indexes, caches, and nothing that asks or downloads interpreters. */
export function environmentVariables({
  cache,
  variables,
  environment,
  allowInsecure,
}: VariableSources): Record<string, string> {
  const chosen: Record<string, string> = {
    UV_LINK_MODE: 'hardlink',
    ...packageVariables(variables, allowInsecure),
    PATH: SEARCH_PATH,
    LANG: 'C.UTF-8',
    PYTHONUNBUFFERED: '1',
    PIP_CACHE_DIR: path.join(cache, 'pip'),
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PIP_NO_INPUT: '1',
    UV_CACHE_DIR: path.join(cache, 'uv'),
    UV_PYTHON_DOWNLOADS: 'never',
    UV_NO_PROGRESS: '1',
    ...environment,
  }
  const index = chosen['UV_DEFAULT_INDEX'] ?? chosen['UV_INDEX_URL']
  if (index !== undefined) chosen['UV_DEFAULT_INDEX'] = index
  delete chosen['UV_INDEX_URL']
  // The plan has decided about it.
  delete chosen['UV_TORCH_BACKEND']
  return chosen
}

/** Resolves requirement files together, without installing. */
export function resolveTogether(
  tools: PythonTools,
  files: readonly string[],
  { indexes, isIndexReplaced }: Pick<ReadRequirements, 'indexes' | 'isIndexReplaced'>,
): Command {
  if (tools.installer === 'uv') {
    const options = [
      '--generate-hashes',
      '--no-header',
      '--no-annotate',
      '--no-emit-index-url',
      '--python',
      tools.python,
    ]
    return {
      argv: [tools.uv, 'pip', 'compile', ...options, ...torchOptions(tools), ...furtherIndexes(indexes), ...files],
      // Otherwise the index of one requirements file would be that of all.
      defaults: isIndexReplaced ? { UV_DEFAULT_INDEX: PUBLIC_INDEX } : {},
    }
  }
  const options = ['--dry-run', '--ignore-installed', '--report', '-', '--progress-bar', 'off']
  return {
    argv: [...pipOf(tools), 'install', ...options, ...torchOptions(tools), ...files.flatMap((file) => ['-r', file])],
  }
}

/** Makes a virtual environment where there is none, or a half-made one. */
export function makeEnvironment(tools: PythonTools, environment: string): Command {
  if (tools.installer === 'uv') {
    return { argv: [tools.uv, 'venv', '--clear', '--python', tools.python, environment] }
  }
  return { argv: [tools.python, '-m', 'venv', '--clear', environment] }
}

/** Puts pip into an environment that was made without it, for the scripts of custom nodes. */
export function seedPip(tools: PythonTools, environment: string): readonly Command[] {
  if (tools.installer === 'pip') return []
  const python = path.join(environment, 'bin', 'python')
  if (tools.pip === null) return [{ argv: [python, '-m', 'ensurepip', '--default-pip'] }]
  const from = ['--no-index', '--find-links', tools.wheels]
  return [{ argv: [tools.uv, 'pip', 'install', '--python', python, ...from, 'pip'] }]
}

/** Installs pinned requirements of a file, whose text decides whether every one has a hash. */
export function installPinned(tools: PythonTools, environment: string, file: string, text: string): Command {
  const python = path.join(environment, 'bin', 'python')
  const pins = text.split(/\n(?=[A-Za-z0-9])/).filter((entry) => /^[A-Za-z0-9]/.test(entry))
  const isHashed = pins.every((entry) => entry.includes('--hash='))
  const exact = [
    '--no-deps',
    ...(isHashed ? ['--require-hashes'] : tools.installer === 'uv' ? ['--verify-hashes'] : []),
  ]
  const indexes = text.split('\n').filter((line) => line.startsWith('--'))
  if (tools.installer === 'uv') {
    const wheels = tools.mayBuild ? [] : ['--no-build']
    const install = [tools.uv, 'pip', 'install', '--python', python, ...wheels] as const
    return {
      argv: [...install, ...exact, ...torchOptions(tools), ...furtherIndexes(indexes), '-r', file],
      without: BOUNDS,
    }
  }
  const install = [python, '-m', 'pip', 'install', '--progress-bar', 'off'] as const
  return { argv: [...install, ...exact, ...torchOptions(tools), '-r', file], without: BOUNDS }
}

/** Compiles every Python file below directories to bytecode. */
export function compileFiles(environment: string, directories: readonly string[]): Command {
  return { argv: [path.join(environment, 'bin', 'python'), '-m', 'compileall', '-q', '-j', '0', ...directories] }
}

function pipOf({ python, pip }: PythonTools): readonly [string, ...string[]] {
  return pip === null ? [python, '-m', 'pip'] : [python, path.join(pip, 'pip')]
}

function torchOptions({ installer, torchBackend }: PythonTools): readonly string[] {
  if (torchBackend === null) return []
  if (installer === 'uv') return ['--torch-backend', torchBackend]
  return ['--extra-index-url', `${TORCH_INDEXES}/${torchBackend}`]
}

/** Indexes that requirement files name hold old copies of common packages; only taking the best of all makes them usable. */
function furtherIndexes(indexes: readonly string[]): readonly string[] {
  const further = indexes.flatMap((line) => line.split(' '))
  return further.includes('--extra-index-url') ? [...further, '--index-strategy', 'unsafe-best-match'] : further
}
