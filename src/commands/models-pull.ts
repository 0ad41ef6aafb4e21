import { MachineError } from '../errors.ts'
import { becomeInstaller } from '../host/become.ts'
import { digest } from '../host/digest.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import type { WantedModel } from '../install/components.ts'
import type { InstallContext } from '../install/context.ts'
import { bringModels } from '../models/bring-models.ts'
import { finish } from '../models/install-models.ts'
import { selectModels } from '../models/list-models.ts'
import { readWanted } from '../models/reach.ts'
import { modelTools } from './install-tools.ts'
import { requireRoot } from './machine-now.ts'
import { openModelsHost, readModelsPlan, whenStopped } from './models-host.ts'

/** What `comfy-machine models pull` may be told. */
export interface PullOptions {
  /** Only these models; all of them without any. */
  readonly names: readonly string[]
  /** A machine.lock.json that says what is wanted. */
  readonly lock?: string
  /** Models without a declared hash whose source may have another file than at first. */
  readonly accept: readonly string[]
}

/**
 * `comfy-machine models pull`: brings what the machine or a lock wants now, also what is loaded only after the start. Resolves
 * to 0, or 1 when it was stopped; throws what the first model failed with when all have been tried.
 */
export async function modelsPullCommand(options: PullOptions, terminal: Terminal): Promise<number> {
  requireRoot('models pull')
  const { plan, secrets } = await readModelsPlan(true)
  const host = openModelsHost(plan, terminal, { isQuiet: false, secrets })
  const { context } = host
  const locked = options.lock === undefined ? undefined : await readLockModels(context, options.lock)
  becomeInstaller()
  const resumed = 'What has arrived is kept, and the next comfy-machine models pull or start goes on with it.'
  return whenStopped(host, terminal, resumed, async () => {
    const models = locked ?? (await readModels(context))
    const accepted = new Set(options.accept.length === 0 ? [] : choose(models, options.accept))
    const named = choose(models, options.names)
    const chosen =
      options.names.length === 0 && accepted.size > 0 ? [...accepted] : [...new Set([...named, ...accepted])]
    for (const { name, sha256 } of accepted)
      if (sha256 !== null)
        throw new MachineError('CM0002', `model ${name} declares its sha256: there is nothing to accept`)
    const tools = modelTools(context)
    const request = {
      command: 'comfy-machine models pull',
      isPatient: false,
      accepts: (model: WantedModel) => accepted.has(model),
    }
    try {
      finish(context, await bringModels(context, tools.open, chosen, request))
    } finally {
      tools.close()
    }
    return 0
  })
}

async function readModels({ plan }: InstallContext): Promise<readonly WantedModel[]> {
  const { workspace } = plan.paths
  const models = await readWanted(systemFiles, workspace)
  if (models !== undefined) return models
  throw new MachineError(
    'CM0003',
    `the machine has not asked yet what it wants: there is no components.json in ${workspace}`,
    {
      hint: 'Start the machine once, or name a machine.lock.json with --lock.',
    },
  )
}

async function readLockModels({ plan }: InstallContext, file: string): Promise<readonly WantedModel[]> {
  const text = await systemFiles.readText(file)
  if (text === undefined) throw new MachineError('CM0002', `there is no ${file}`, { hint: 'Name a machine.lock.json.' })
  const { parseLock } = await import('../install/lock-schema.ts')
  return parseLock(text, file, { allowInsecure: plan.components.allowInsecureSources, digest }).models
}

function choose(models: readonly WantedModel[], names: readonly string[]): readonly WantedModel[] {
  const { chosen, unknown } = selectModels(models, names)
  if (unknown.length === 0) return chosen
  throw new MachineError('CM0002', `no model is named ${unknown.join(', ')}`, {
    hint: 'Name a model by its name, its path or the first six digits or more of its sha256.',
  })
}
