import { join } from 'node:path'
import { definitionOf, type ErrorCode, MachineError, messageOf, toMachineError } from '../errors.ts'
import { digest } from '../host/digest.ts'
import type { InstallHost } from '../host/install-ports.ts'
import { openProgress } from '../host/report.ts'
import { openUnitHost } from '../host/unit-process.ts'
import { attemptOf, createHeartbeat, type InstallContext, note, PROGRESS_MS, toReported } from '../install/context.ts'
import { codeOf } from '../install/network-failure.ts'
import { DEFAULT_RETRY } from '../install/retry.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { stepOf } from '../steps.ts'

/** The installers by the name of their unit. */
export type Installer = 'comfyui' | 'discover' | 'nodes' | 'models'

const STEPS: Readonly<Record<Installer, number>> = { comfyui: 14, discover: 16, nodes: 17, models: 18 }
const UNEXPECTED: Readonly<Record<Installer, ErrorCode>> = {
  comfyui: 'CM1490',
  discover: 'CM1690',
  nodes: 'CM1790',
  models: 'CM1890',
}
const UV = '/usr/lib/comfy-machine/bin/uv'
const DEFAULT_PLAN = '/run/comfy-machine/plan.json'
const EXIT_STOPPED = 143
const EXIT_CONFIGURATION = 78
const EXIT_TRANSIENT = 75
const INDEX_VARIABLES = ['PIP_INDEX_URL', 'PIP_EXTRA_INDEX_URL', 'UV_DEFAULT_INDEX', 'UV_INDEX', 'UV_INDEX_URL']

/** `comfy-machine install WHAT`: one installer from plan to report. Exit code 0, 1, 75 when trying later may help, 78 for configuration. */
export async function installCommand(what: Installer): Promise<number> {
  const planFile = process.env['COMFY_MACHINE_PLAN'] ?? DEFAULT_PLAN
  const text = await (await import('../host/files.ts')).systemFiles.readText(planFile)
  const plan = text === undefined ? undefined : (JSON.parse(text) as MachinePlan)
  const fields = plan === undefined ? {} : { COMFY_MACHINE_ID: plan.machineId, COMFY_TRACE_ID: plan.traceId }
  const unit = openUnitHost(fields)
  const host: InstallHost = { ...unit, digest, progress: openProgress(), invocationId: unit.env['INVOCATION_ID'] ?? '' }
  const step = stepOf(STEPS[what])
  if (plan === undefined) {
    const error = new MachineError('CM0003', `there is no ${planFile}`)
    host.report.write({ kind: 'failure', ...toReported(error), atUs: host.clock.nowUs(), attempt: 1 })
    host.journal.write({ message: `${error.message}. ${error.hint}`, priority: 'err' })
    return 1
  }
  const context: InstallContext = { plan, host, step }
  host.notify.extend(PROGRESS_MS)
  try {
    await INSTALLERS[what](context)
    return 0
  } catch (thrown) {
    if (host.signal.aborted) {
      note(context, 'stopped; what is half done is taken up at the next start', 'notice')
      return EXIT_STOPPED
    }
    return fail(context, toFailure(thrown, what))
  }
}

function fail(context: InstallContext, error: MachineError): number {
  const { host } = context
  host.report.write({ kind: 'failure', ...toReported(error), atUs: host.clock.nowUs(), attempt: attemptOf(error) })
  host.notify.status(`${error.code}: ${error.message}`)
  note(context, `${error.code} ${definitionOf(error.code).name}: ${error.message}. ${error.hint}`, 'err', {
    COMFY_STATE: 'failed',
    COMFY_ERROR_CODE: error.code,
    COMFY_ERROR_TYPE: error.type,
  })
  if (error.type.startsWith('config_')) return EXIT_CONFIGURATION
  return definitionOf(error.code).transient === true ? EXIT_TRANSIENT : 1
}

function toFailure(thrown: unknown, what: Installer): MachineError {
  if (thrown instanceof MachineError) return thrown
  const code = codeOf(thrown)
  if (code === 'ENOSPC' || code === 'EDQUOT') return new MachineError('CM0402', messageOf(thrown), { cause: thrown })
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new MachineError('CM0401', messageOf(thrown), { cause: thrown })
  }
  return toMachineError(thrown, UNEXPECTED[what])
}

/** Each installer loads its tools only when there is something to do. */
const INSTALLERS: Readonly<Record<Installer, (context: InstallContext) => Promise<void>>> = {
  async comfyui(context) {
    const { installComfyUI } = await import('../install/comfyui.ts')
    await installComfyUI(context, async () => {
      const { systemTrees } = await import('../host/tree.ts')
      const git = await openGitFor(context, { failed: 'CM1401', missing: 'CM1401' })
      return { git, python: await openPythonFor(context), trees: systemTrees }
    })
  },
  async discover(context) {
    const { discoverComponents } = await import('../install/discover.ts')
    await discoverComponents(context, async () => {
      const { openHttpClient } = await import('../host/http-client.ts')
      return openHttpClient(await networkOf(context), context.host.signal)
    })
  },
  async nodes(context) {
    const { installNodes } = await import('../install/nodes.ts')
    await installNodes(context, async () => {
      const git = await openGitFor(context, { failed: 'CM1701', missing: 'CM1702' })
      return { git, python: await openPythonFor(context) }
    })
  },
  async models(context) {
    const { installModels } = await import('../install/models.ts')
    let close = (): void => undefined
    try {
      await installModels(context, async () => {
        const { openDownloader } = await import('../host/downloader.ts')
        const { systemTrees } = await import('../host/tree.ts')
        const { clock, signal } = context.host
        const downloader = openDownloader({ clock, signal, proxies: await networkOf(context), retry: DEFAULT_RETRY })
        close = downloader.close
        return { downloader, trees: systemTrees }
      })
    } finally {
      close()
    }
  },
}

async function networkOf(context: InstallContext): Promise<Record<string, string>> {
  const { networkVariables } = await import('../install/python-packages.ts')
  return networkVariables(context.plan.environment)
}

async function openGitFor(context: InstallContext, codes: { readonly failed: ErrorCode; readonly missing: ErrorCode }) {
  const { openGit } = await import('../host/git.ts')
  const { plan, host } = context
  const path = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', HOME: process.env['HOME'] ?? plan.paths.workspace }
  return openGit({
    exec: host.exec,
    files: host.files,
    mirrors: join(plan.paths.cache, 'git'),
    env: { ...path, ...(await networkOf(context)) },
    allowInsecure: plan.components.allowInsecureSources,
    codes,
    signal: host.signal,
    onProgress: createHeartbeat(host),
  })
}

async function openPythonFor(context: InstallContext) {
  const { openPython } = await import('../host/python.ts')
  const { plan, host } = context
  const beat = createHeartbeat(host)
  const secret = INDEX_VARIABLES.flatMap((name): [string, string][] => {
    const value = host.secrets.read(name)
    return value === undefined ? [] : [[name, value]]
  })
  return openPython({
    exec: host.exec,
    files: host.files,
    uv: UV,
    cache: plan.paths.cache,
    home: process.env['HOME'] ?? plan.paths.workspace,
    variables: { ...plan.environment, ...Object.fromEntries(secret) },
    allowInsecure: plan.components.allowInsecureSources,
    signal: host.signal,
    onLine: (line) => {
      beat()
      if (line.trim() !== '') note(context, line, 'debug')
    },
  })
}
