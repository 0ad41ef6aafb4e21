import { realpath } from 'node:fs/promises'
import { machine } from 'node:os'
import { join } from 'node:path'
import { type ErrorType, MachineError } from '../errors.ts'
import {
  type Command,
  compileFiles,
  environmentVariables,
  installPinned,
  makeEnvironment,
  type PythonTools,
  resolveTogether,
  SEARCH_PATH,
  seedPip,
} from '../install/python-commands.ts'
import { distributionOf } from '../install/python-packages.ts'
import { readResolution } from '../install/python-resolution.ts'
import { problemSentence, readRequirements } from '../install/requirement-files.ts'
import { splitByHash } from '../install/requirement-lock.ts'
import { networkFailure, resolverWords } from '../install/resolver-output.ts'
import type { Interpreter, PythonEnvironments } from './install-ports.ts'
import type { Exec, ExecResult, Files } from './ports.ts'

const ENVIRONMENT_LIMIT_MS = 5 * 60_000
const PACKAGES_LIMIT_MS = 60 * 60_000
const WHEELS = '/usr/share/python-wheels'
const TOLD_CHARS = 600

/** What Python environments need; `variables` are the operator's, of which PIP_*, UV_*, proxies and certificates are used. */
export interface PythonEnvironmentsOptions {
  /** Runs uv, pip and what they build. It need not see other files than requirement files, environments and the cache. */
  readonly exec: Exec
  readonly files: Files
  readonly installer: 'uv' | 'pip'
  /** false: `install` throws CM1403 when something has to be built, which would run programs of others; uv only. */
  readonly mayBuild: boolean
  /** See TORCH_BACKEND; null when the package indexes decide. */
  readonly torchBackend: string | null
  /** Where uv is when this package has it. */
  readonly uv: string
  readonly cache: string
  /** HOME of scripts; uv and pip have none, so that no script can configure them for the next one. */
  readonly home: string
  readonly variables: Readonly<Record<string, string>>
  /** What every process gets beside them. */
  readonly environment: Readonly<Record<string, string>>
  readonly allowInsecure: boolean
  readonly signal: AbortSignal
  readonly onLine: (line: string) => void
}

/** Python environments by uv, or by venv and pip where an operator wants it. Nothing is run before the first call. */
export function openPythonEnvironments(options: PythonEnvironmentsOptions): PythonEnvironments {
  const { files, installer, signal, torchBackend } = options
  const variables = environmentVariables(options)
  const once = memoise(() => findTools(options, run))

  async function run(
    { argv, defaults = {}, without = [] }: Command,
    timeoutMs: number,
    isLine: (line: string, stream: string) => boolean = () => true,
  ): Promise<ExecResult> {
    const kept = Object.entries(variables).filter(([name]) => !without.includes(name))
    const result = await options.exec.run(argv, {
      cwd: '/',
      env: { ...defaults, ...Object.fromEntries(kept), HOME: '/nonexistent' },
      timeoutMs,
      signal,
      onLine: (line, stream) => {
        if (isLine(line, stream)) options.onLine(line)
      },
    })
    signal.throwIfAborted()
    return result
  }

  async function mustInstall(tools: PythonTools, environment: string, file: string, text: string): Promise<void> {
    const result = await run(installPinned(tools, environment, file, text), PACKAGES_LIMIT_MS)
    if (result.code === 0) return
    throw installFailure(result)
  }

  return {
    installer,
    interpreter: async () => (await once()).interpreter,
    async resolve(wanted) {
      const read = await readRequirements(files, wanted, installer)
      const { lines, indexes, problems } = read
      const [first] = problems
      if (first !== undefined) {
        return { ok: false, reason: 'invalid', owner: first.owner, detail: problems.map(problemSentence).join('; ') }
      }
      const tools = await once()
      if (lines.length === 0) return { ok: true, requirements: '', packages: 0 }
      const paths = wanted.map(({ path }) => path)
      const command = resolveTogether(tools, paths, read)
      const result = await run(command, PACKAGES_LIMIT_MS, isProgress())
      return readResolution({ installer, torchBackend, result, indexes, wanted })
    },
    async create(environment) {
      const tools = await once()
      for (const command of [makeEnvironment(tools, environment), ...seedPip(tools, environment)]) {
        const result = await run(command, ENVIRONMENT_LIMIT_MS)
        if (result.code === 0) continue
        throw new MachineError('CM1402', `${environment}: ${wordsOf(result)}`)
      }
    },
    async install(environment, requirementsFile) {
      const tools = await once()
      const text = (await files.readText(requirementsFile)) ?? ''
      const { hashed, unhashed } = splitByHash(text)
      if (hashed === '' && unhashed === '') return
      if (installer === 'uv' || unhashed === '' || hashed === '') {
        return mustInstall(tools, environment, requirementsFile, text)
      }
      // pip checks either every requirement of a run or none.
      for (const [name, part] of [
        ['hashed', hashed],
        ['unhashed', unhashed],
      ] as const) {
        const file = join(environment, `requirements-${name}.txt`)
        await files.writeText(file, part)
        await mustInstall(tools, environment, file, part)
        await files.remove(file)
      }
    },
    async compile(environment, directories) {
      if (directories.length > 0) await run(compileFiles(environment, directories), PACKAGES_LIMIT_MS)
    },
    distributions: (environment) => readDistributions(files, environment),
    scriptEnvironment: (environment) => ({
      ...variables,
      HOME: options.home,
      PATH: `${join(environment, 'bin')}:${SEARCH_PATH}`,
      VIRTUAL_ENV: environment,
    }),
  }
}

type Run = (command: Command, timeoutMs: number) => Promise<ExecResult>

async function findTools(
  options: PythonEnvironmentsOptions,
  run: Run,
): Promise<PythonTools & { interpreter: Interpreter }> {
  const { files, installer, uv, torchBackend, mayBuild } = options
  const interpreter = await findInterpreter(options, run)
  const wheel = (await files.list(WHEELS)).find((name) => /^pip-.*\.whl$/.test(name))
  const pip = wheel === undefined ? null : join(WHEELS, wheel)
  const tools = { installer, python: interpreter.path, uv, wheels: WHEELS, pip, torchBackend, mayBuild, interpreter }
  if (installer === 'uv') {
    if ((await files.stat(uv)) !== undefined) return tools
    throw new MachineError('CM1404', `there is no ${uv}`)
  }
  if (pip !== null) return tools
  const { code } = await run({ argv: [interpreter.path, '-m', 'pip', '--version'] }, ENVIRONMENT_LIMIT_MS)
  if (code === 0) return tools
  throw new MachineError('CM1404', `${interpreter.path} has no pip`, { hint: 'Install python3-pip or python3-venv.' })
}

async function findInterpreter({ files, variables }: PythonEnvironmentsOptions, run: Run): Promise<Interpreter> {
  const wanted = variables['UV_PYTHON']
  const candidates = wanted?.startsWith('/') ? [wanted] : ['/usr/bin/python3', '/usr/local/bin/python3']
  for (const candidate of candidates) {
    if ((await files.stat(candidate)) === undefined) continue
    const path = await realpath(candidate)
    const version = /python(\d+\.\d+)$/.exec(path)?.[1]
    if (version !== undefined) return { path, version, machine: machine() }
    const program = 'import sys; print("%d.%d" % sys.version_info[:2])'
    const asked = await run({ argv: [path, '-I', '-c', program] }, ENVIRONMENT_LIMIT_MS)
    if (asked.code === 0) return { path, version: asked.stdout.trim(), machine: machine() }
    throw new MachineError('CM1402', `${path} is no Python that runs: ${wordsOf(asked)}`)
  }
  throw new MachineError('CM1402', `there is no ${candidates.join(' and no ')}`)
}

async function readDistributions(files: Files, environment: string): Promise<ReadonlyMap<string, string>> {
  const lib = join(environment, 'lib')
  const versions = (await files.list(lib)).filter((name) => /^python\d/.test(name))
  const listed = await Promise.all(versions.map((name) => files.list(join(lib, name, 'site-packages'))))
  return new Map(listed.flat().flatMap((name) => distributionOf(name) ?? []))
}

/** Tells the lines of a resolver that are for people from the document that it prints at its end. */
function isProgress(): (line: string, stream: string) => boolean {
  let isDocument = false
  return (line, stream) => {
    if (stream === 'stderr') return true
    isDocument ||= line === '{' || /^\S+ ?(==|@)/.test(line)
    return !isDocument
  }
}

function installFailure(result: ExecResult): MachineError {
  const output = `${result.stdout}\n${result.stderr}`
  const words = wordsOf(result)
  if (/No space left on device|os error 28\b/.test(output)) return new MachineError('CM0402', words)
  const mismatch: ErrorType | undefined = /Hash mismatch|DO NOT MATCH THE HASHES/.test(output)
    ? 'checksum_mismatch'
    : undefined
  const type = mismatch ?? networkFailure(output)
  return new MachineError('CM1403', words, type === undefined ? {} : { type })
}

function wordsOf(result: ExecResult): string {
  if (result.timedOut) return 'ran out of time'
  return resolverWords(`${result.stdout}\n${result.stderr}`).slice(0, TOLD_CHARS)
}

function memoise<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
