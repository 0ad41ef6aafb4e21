import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import { packageFailure, packageVariables } from '../install/python-packages.ts'
import type { Python } from './install-ports.ts'
import type { Exec, Files } from './ports.ts'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const VENV_LIMIT_MS = 5 * 60_000
const INSTALL_LIMIT_MS = 60 * 60_000

/** What Python environments need; `variables` are the operator's, of which PIP_*, UV_*, proxies and certificates are used. */
export interface PythonOptions {
  readonly exec: Exec
  readonly files: Files
  /** Where uv is when this package has it. */
  readonly uv: string
  readonly cache: string
  readonly home: string
  readonly variables: Readonly<Record<string, string>>
  /** What every process gets beside them. */
  readonly environment: Readonly<Record<string, string>>
  readonly allowInsecure: boolean
  readonly signal: AbortSignal
  readonly onLine: (line: string) => void
}

/** Python environments by venv(3), packages by the uv of this package where it is there, by the environment's pip otherwise. */
export async function openPython(options: PythonOptions): Promise<Python> {
  const installer = (await options.files.stat(options.uv)) === undefined ? 'pip' : 'uv'
  const base = {
    PATH,
    HOME: options.home,
    LANG: 'C.UTF-8',
    PYTHONUNBUFFERED: '1',
    ...packageVariables(options.variables, options.allowInsecure),
    PIP_CACHE_DIR: join(options.cache, 'pip'),
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
    PIP_NO_INPUT: '1',
    UV_CACHE_DIR: join(options.cache, 'uv'),
    UV_PYTHON_DOWNLOADS: 'never',
    UV_NO_PROGRESS: '1',
    ...options.environment,
  }
  const scriptEnvironment = (environment: string): Readonly<Record<string, string>> => ({
    ...base,
    PATH: `${join(environment, 'bin')}:${PATH}`,
    VIRTUAL_ENV: environment,
  })

  async function interpreter(): Promise<string> {
    const wanted = options.variables['UV_PYTHON']
    const candidates = wanted?.startsWith('/') ? [wanted] : ['/usr/bin/python3', '/usr/local/bin/python3']
    for (const candidate of candidates) {
      if ((await options.files.stat(candidate)) !== undefined) return realpath(candidate)
    }
    throw new MachineError('CM1402', `there is no ${candidates.join(' and no ')}`)
  }

  return {
    installer,
    interpreter,
    scriptEnvironment,
    async createEnvironment(directory) {
      const result = await options.exec.run([await interpreter(), '-m', 'venv', directory], {
        cwd: '/',
        env: base,
        timeoutMs: VENV_LIMIT_MS,
        signal: options.signal,
        onLine: options.onLine,
      })
      options.signal.throwIfAborted()
      if (result.code === 0) return
      throw new MachineError('CM1402', `${directory}: ${packageFailure(`${result.stdout}\n${result.stderr}`)}`)
    },
    async installRequirements(environment, files) {
      const python = join(environment, 'bin', 'python')
      const command: [string, ...string[]] =
        installer === 'uv'
          ? [options.uv, 'pip', 'install', '--python', python]
          : [python, '-m', 'pip', 'install', '--progress-bar', 'off']
      const result = await options.exec.run([...command, ...files.flatMap((file) => ['-r', file])], {
        cwd: '/',
        env: scriptEnvironment(environment),
        timeoutMs: INSTALL_LIMIT_MS,
        signal: options.signal,
        onLine: options.onLine,
      })
      options.signal.throwIfAborted()
      if (result.code === 0) return { ok: true }
      const detail = result.timedOut ? 'ran out of time' : packageFailure(`${result.stdout}\n${result.stderr}`)
      return { ok: false, detail }
    },
  }
}
