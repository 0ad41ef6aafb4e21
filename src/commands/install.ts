import path from 'node:path'
import { definitionOf, type ErrorCode, MachineError, messageOf, toMachineError } from '../errors.ts'
import { digest } from '../host/digest.ts'
import type { InstallHost } from '../host/install-ports.ts'
import { openProgress } from '../host/report.ts'
import { openUnitHost } from '../host/unit-process.ts'
import { attemptOf, type InstallContext, note, PROGRESS_MS, toReported } from '../install/context.ts'
import { codeOf } from '../install/network-failure.ts'
import { LOCK_FILE, placesOf } from '../plan/places.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { stepOf } from '../steps.ts'
import { modelTools, openBuildFor, openGitFor, openHttpFor } from './install-tools.ts'

/** The installers by the name of their unit. */
export type Installer = 'comfyui' | 'discover' | 'nodes' | 'models' | 'later-models' | 'update' | 'collect'

const STEPS: Readonly<Record<Installer, number>> = {
  comfyui: 14,
  discover: 16,
  nodes: 17,
  models: 18,
  'later-models': 18,
  update: 17,
  collect: 17,
}
const UNEXPECTED: Readonly<Record<Installer, ErrorCode>> = {
  comfyui: 'CM1490',
  discover: 'CM1690',
  nodes: 'CM1790',
  models: 'CM1890',
  'later-models': 'CM1890',
  update: 'CM1790',
  collect: 'CM1790',
}
const DEFAULT_PLAN = '/run/comfy-machine/plan.json'
const EXIT_STOPPED = 143
const EXIT_CONFIGURATION = 78
const EXIT_TRANSIENT = 75

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
  // What goes on after the start has a trace of its own.
  const traceId = what === 'later-models' && host.invocationId !== '' ? host.invocationId : plan.traceId
  const context: InstallContext = { plan: { ...plan, traceId }, host, step }
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
    await installComfyUI(context, async () => ({
      git: await openGitFor(context, { failed: 'CM1401', missing: 'CM1401' }),
    }))
  },
  async discover(context) {
    const { discoverComponents } = await import('../install/discover.ts')
    await discoverComponents(context, () => openHttpFor(context))
  },
  async nodes(context) {
    const { installNodes } = await import('../install/nodes.ts')
    await installNodes(context, () => openBuildFor(context))
  },
  async models(context) {
    const { installModels } = await import('../models/install-models.ts')
    const models = modelTools(context)
    await installModels(context, models.open).finally(() => models.close())
  },
  async 'later-models'(context) {
    const { installModels } = await import('../models/install-models.ts')
    const { workspace } = context.plan.paths
    const lock = path.relative(workspace, path.join(placesOf(workspace).current, LOCK_FILE))
    const models = modelTools(context)
    await installModels(context, models.open, lock, 'after').finally(() => models.close())
  },
  async update(context) {
    const { installUpdate } = await import('../install/update.ts')
    const models = modelTools(context)
    process.umask(0o022)
    const tools = {
      openHttp: () => openHttpFor(context),
      openBuild: () => openBuildFor(context),
      async bringModels(componentsFile: string) {
        const { installModels } = await import('../models/install-models.ts')
        // ComfyUI may change the models, and nothing else that is installed.
        const open = () => {
          process.umask(0o002)
          return models.open()
        }
        await installModels(context, open, componentsFile)
      },
    }
    await installUpdate(context, tools).finally(() => models.close())
  },
  async collect(context) {
    const { collectGenerations } = await import('../install/collect.ts')
    await collectGenerations(context)
  },
}
