import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { MachineError } from '../../../src/errors.ts'
import { systemExec } from '../../../src/host/exec.ts'
import { systemFiles } from '../../../src/host/files.ts'
import type { PythonEnvironments, RequirementsFile, Resolution } from '../../../src/host/install-ports.ts'
import { openPythonEnvironments } from '../../../src/host/python-environments.ts'
import { explainConflict } from '../../../src/install/requirement-conflict.ts'

// Runs inside a test host, bundled into one file: `resolve-requirements.mjs REQUEST.json` writes requirement files, does with
// them what the request says, and prints what came of it, see `Outcome`.

/** What the program is to do. */
export interface Request {
  readonly installer: 'uv' | 'pip'
  /** Files by owner and by path relative to the owner's directory, as bytes in base64. */
  readonly owners: Readonly<Record<string, Readonly<Record<string, string>>>>
  readonly variables: Readonly<Record<string, string>>
  /** Environment to make and fill; none where only a resolution is wanted. */
  readonly environment?: string
  /** Pinned requirements to install; by default what was resolved. */
  readonly lock?: string
}

/** What a failure said. */
export interface Failure {
  readonly code: string
  readonly type: string
  readonly message: string
}

/** What the program prints; times in milliseconds. */
export interface Outcome {
  readonly resolution: Resolution
  readonly resolveMs: number
  readonly fault: (Failure & { readonly owners: readonly string[]; readonly tries: number }) | null
  readonly installMs: number
  readonly installed: Readonly<Record<string, string>>
  readonly distributionsMs: number
  readonly failure: Failure | null
}

const ROOT = '/opt/requirements'

async function writeOwners(owners: Request['owners']): Promise<readonly RequirementsFile[]> {
  await rm(ROOT, { recursive: true, force: true })
  const written: RequirementsFile[] = []
  for (const [owner, files] of Object.entries(owners)) {
    const directory = path.join(ROOT, owner.replaceAll(' ', '-'))
    for (const [file, bytes] of Object.entries(files)) {
      const target = path.join(directory, file)
      await mkdir(path.dirname(target), { recursive: true })
      await writeFile(target, Buffer.from(bytes, 'base64'))
    }
    written.push({ owner, path: path.join(directory, 'requirements.txt') })
  }
  return written
}

function failureOf(thrown: unknown): Failure {
  if (!(thrown instanceof MachineError)) throw thrown
  return { code: thrown.code, type: thrown.type, message: thrown.message }
}

async function timed<T>(work: () => Promise<T>): Promise<readonly [T, number]> {
  const begun = performance.now()
  return [await work(), performance.now() - begun]
}

async function explain(python: PythonEnvironments, files: readonly RequirementsFile[], resolution: Resolution) {
  if (resolution.ok) return null
  let tries = 0
  const onTry = (): void => {
    tries += 1
  }
  const tools = { python, files: systemFiles, onTry }
  const { error, owners } = await explainConflict(tools, files, resolution)
  return { ...failureOf(error), owners, tries }
}

async function main(request: Request): Promise<Outcome> {
  const python = openPythonEnvironments({
    exec: systemExec,
    files: systemFiles,
    installer: request.installer,
    torchBackend: null,
    mayBuild: true,
    uv: '/usr/lib/comfy-machine/bin/uv',
    cache: '/var/cache/comfy-machine',
    home: '/var/cache/comfy-machine/home',
    variables: request.variables,
    environment: {},
    allowInsecure: false,
    signal: new AbortController().signal,
    onLine: () => undefined,
  })
  const files = await writeOwners(request.owners)
  const [resolution, resolveMs] = await timed(() => python.resolve(files))
  const nothing = { installMs: 0, installed: {}, distributionsMs: 0, failure: null }
  const so = { resolution, resolveMs, fault: await explain(python, files, resolution), ...nothing }
  const { environment } = request
  if (environment === undefined || !resolution.ok) return so
  const lock = `${environment}.lock.txt`
  await writeFile(lock, request.lock ?? resolution.requirements)
  try {
    await python.create(environment)
    const [, installMs] = await timed(() => python.install(environment, lock))
    await python.compile(environment, [path.join(environment, 'lib')])
    const [installed, distributionsMs] = await timed(() => python.distributions(environment))
    return { ...so, installMs, installed: Object.fromEntries(installed), distributionsMs }
  } catch (thrown) {
    return { ...so, failure: failureOf(thrown) }
  }
}

const request = JSON.parse(await readFile(process.argv[2] ?? '', 'utf8')) as Request
process.stdout.write(JSON.stringify(await main(request)))
