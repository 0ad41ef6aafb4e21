import { join } from 'node:path'
import type { ErrorCode } from '../errors.ts'
import type { Git, HttpClient, PythonEnvironments } from '../host/install-ports.ts'
import type { Fetcher } from '../host/model-ports.ts'
import type { Exec } from '../host/ports.ts'
import type { BuildTools } from '../install/build-generation.ts'
import { createHeartbeat, type InstallContext, note, traceOf } from '../install/context.ts'
import { DEFAULT_RETRY } from '../install/retry.ts'
import type { ModelTools } from '../models/bring-models.ts'
import { placesOf } from '../plan/places.ts'
import { SANDBOX_SOCKET } from '../plan/plan.ts'

const UV = '/usr/lib/comfy-machine/bin/uv'
const INDEX_VARIABLES = ['PIP_INDEX_URL', 'PIP_EXTRA_INDEX_URL', 'UV_DEFAULT_INDEX', 'UV_INDEX', 'UV_INDEX_URL']

/** HTTP through the operator's proxies. */
export async function openHttpFor(context: InstallContext): Promise<HttpClient> {
  const { openHttpClient } = await import('../host/http-client.ts')
  return openHttpClient(await networkOf(context), context.host.signal)
}

/** What fetches models, within what the plan allows it of the network. */
export async function openFetcherFor(context: InstallContext, signal = context.host.signal): Promise<Fetcher> {
  const { openFetcher } = await import('../host/download/fetcher.ts')
  const { models, components } = context.plan
  const allowInsecure = components.allowInsecureSources
  return openFetcher({ signal, proxies: await networkOf(context), retry: DEFAULT_RETRY, limits: models, allowInsecure })
}

/** What the models are brought with; `close` ends its connections, and what is being hashed. */
export function modelTools(context: InstallContext): {
  readonly open: () => Promise<ModelTools>
  readonly close: () => void
} {
  let close = (): void => undefined
  return {
    async open() {
      const { storeUntil } = await import('./stoppable-store.ts')
      const { endHashing } = await import('../host/store-files.ts')
      const { systemTrees } = await import('../host/tree.ts')
      const fetcher = await openFetcherFor(context)
      close = () => {
        fetcher.close()
        endHashing()
      }
      return { fetcher, store: storeUntil(context.host.signal), trees: systemTrees }
    },
    close: () => close(),
  }
}

/** What a generation is built with. */
export async function openBuildFor(context: InstallContext): Promise<BuildTools> {
  const { openSandbox } = await import('../host/sandbox.ts')
  const { systemTrees } = await import('../host/tree.ts')
  const sandbox = openSandbox({ socketPath: SANDBOX_SOCKET })
  const git = await openGitFor(context, { failed: 'CM1701', missing: 'CM1702' })
  const python = await openPythonFor(context, { exec: sandbox, cache: context.plan.paths.cache, mayBuild: true })
  return { git, sandbox, python: await withHardLinks(context, python), trees: systemTrees }
}

/** git through the mirrors of this machine; `codes` are what its failures are called. */
export async function openGitFor(
  context: InstallContext,
  codes: { readonly failed: ErrorCode; readonly missing: ErrorCode },
): Promise<Git> {
  const { openGit } = await import('../host/git.ts')
  const { plan, host } = context
  const path = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: process.env['HOME'] ?? plan.paths.workspace }
  return openGit({
    exec: host.exec,
    files: host.files,
    mirrors: join(plan.paths.cache, 'git'),
    env: { ...path, ...(await networkOf(context)), TRACEPARENT: traceOf(context) },
    allowInsecure: plan.components.allowInsecureSources,
    codes,
    signal: host.signal,
    onProgress: createHeartbeat(host),
  })
}

async function networkOf(context: InstallContext): Promise<Record<string, string>> {
  const { networkVariables } = await import('../install/python-packages.ts')
  return networkVariables(context.plan.environment)
}

/**
 * Environments whose packages share their files with those of other generations. A link cannot lead from one mount to
 * another, and so it is not made in the sandbox but here, where nothing is built: what needs a build is left to the sandbox.
 */
async function withHardLinks(context: InstallContext, sandboxed: PythonEnvironments): Promise<PythonEnvironments> {
  if (sandboxed.installer === 'pip') return sandboxed
  const { linkPackages } = await import('../install/link-packages.ts')
  const { home } = placesOf(context.plan.paths.workspace)
  const cache = join(home, 'cache')
  return linkPackages(
    context,
    sandboxed,
    await openPythonFor(context, { exec: context.host.exec, cache, mayBuild: false }),
  )
}

interface PythonRun {
  readonly exec: Exec
  readonly cache: string
  readonly mayBuild: boolean
}

async function openPythonFor(
  context: InstallContext,
  { exec, cache, mayBuild }: PythonRun,
): Promise<PythonEnvironments> {
  const { openPythonEnvironments } = await import('../host/python-environments.ts')
  const { plan, host } = context
  const beat = createHeartbeat(host)
  const secret = INDEX_VARIABLES.flatMap((name): [string, string][] => {
    const value = host.secrets.read(name)
    return value === undefined ? [] : [[name, value]]
  })
  return openPythonEnvironments({
    exec,
    files: host.files,
    installer: plan.python.installer,
    mayBuild,
    torchBackend: plan.python.torchBackend,
    uv: UV,
    cache,
    home: join(plan.paths.cache, 'home'),
    variables: { ...plan.environment, ...Object.fromEntries(secret) },
    allowInsecure: plan.components.allowInsecureSources,
    signal: host.signal,
    environment: { TRACEPARENT: traceOf(context) },
    onLine: (line) => {
      beat()
      if (line.trim() !== '') note(context, line, 'debug')
    },
  })
}
