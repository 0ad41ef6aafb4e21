import { dirname, join } from 'node:path'
import type { MachineConfig } from '../config/load-config.ts'
import { systemClock } from '../host/clock.ts'
import { digest } from '../host/digest.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import { mirroredCommits } from '../host/git-mirrors.ts'
import { openHttpClient } from '../host/http-client.ts'
import type { InstallHost } from '../host/install-ports.ts'
import type { Files } from '../host/ports.ts'
import { stopSignal } from '../host/signals.ts'
import { isWantedSource, readSource } from '../install/comfyui-source.ts'
import { COMPONENTS_FILE, type Components, type WantedModel, type WantedNode } from '../install/components.ts'
import { type InstallContext, parseRecord } from '../install/context.ts'
import { discoverComponents } from '../install/discover.ts'
import { readCurrent } from '../install/generations.ts'
import type { MachineLock } from '../install/machine-lock.ts'
import { type InstallationPreview, previewChanges } from '../install/preview.ts'
import { networkVariables } from '../install/python-packages.ts'
import { readInterpreter, wishKey } from '../install/wish.ts'
import { MODEL_INDEX, type ModelIndex } from '../models/model-plan.ts'
import { type ModelFacts, previewModels } from '../models/preview-models.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { stepOf } from '../steps.ts'

const STEP_OF_DISCOVERY = 16

/**
 * Asks the component API what is wanted, as the discovery does but without writing its answer down, and compares it with what
 * is installed. Throws CM1601 to CM1608 as the discovery.
 */
export async function previewInstallation(plan: MachinePlan, config: MachineConfig): Promise<InstallationPreview> {
  const written = new Map<string, string>()
  const context = dryContext(plan, config, written)
  await discoverComponents(context, async () => openHttpClient(networkVariables(plan.environment), context.host.signal))
  const path = join(plan.paths.workspace, COMPONENTS_FILE)
  const components = parseRecord<Components>(written.get(path) ?? (await systemFiles.readText(path)))
  const { nodes = [], models = [] } = components ?? {}
  const current = await readCurrent(context)
  const urls = nodes.map(({ url }) => url)
  const preview = previewChanges({
    lock: current?.lock,
    comfyui: plan.comfyui,
    nodes,
    isSameWish: current !== undefined && (await isSameWish(context, nodes, current.lock, components?.lock)),
    isLocked: plan.components.lockFile !== null,
    mirrors: await findMirrors(plan, urls),
    models: previewModels(await readModels(context, models)),
  })
  const { bytes: freeBytes } = await systemFiles.freeSpace(await nearest(systemFiles, plan.paths.models))
  const neededBytes = preview.downloadBytes
  const disk = { path: plan.paths.models, neededBytes, freeBytes, fits: neededBytes <= freeBytes }
  return { ...preview, generation: current?.id ?? null, disk }
}

/** The context of an installer that writes nothing down: what it would write is in `written`. */
function dryContext(plan: MachinePlan, config: MachineConfig, written: Map<string, string>): InstallContext {
  const nothing = (): void => undefined
  const files: Files = {
    ...systemFiles,
    writeText: async (path, text) => void written.set(path, text),
  }
  const host: InstallHost = {
    clock: systemClock,
    files,
    exec: systemExec,
    notify: { ready: nothing, stopping: nothing, status: nothing, extend: nothing, watchdog: nothing },
    journal: { write: nothing },
    report: { write: nothing },
    progress: { write: nothing },
    invocationId: '',
    secrets: { read: (name) => config.secrets.get(name) },
    signal: stopSignal(),
    digest,
  }
  return { plan, host, step: stepOf(STEP_OF_DISCOVERY) }
}

async function isSameWish(
  context: InstallContext,
  nodes: readonly WantedNode[],
  lock: MachineLock,
  wanted: MachineLock | undefined,
): Promise<boolean> {
  if (wanted !== undefined) return wanted.generation === lock.generation
  const { plan, host } = context
  const known = isWantedSource(context, lock.comfyui) ? lock.comfyui : undefined
  const source = (await readSource(context)) ?? known
  if (source === undefined) return false
  const interpreter = await readInterpreter(host.files, plan.environment)
  return lock.wish === host.digest(wishKey(plan, { source, nodes, interpreter }))
}

async function findMirrors(
  { paths }: MachinePlan,
  urls: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const names = await systemFiles.list(join(paths.cache, 'git'))
  return new Map(urls.map((url) => [url, mirroredCommits(names, url)]))
}

async function readModels({ plan }: InstallContext, models: readonly WantedModel[]): Promise<readonly ModelFacts[]> {
  const index = parseRecord<ModelIndex>(await systemFiles.readText(join(plan.paths.workspace, MODEL_INDEX)))
  return Promise.all(
    models.map(async (model): Promise<ModelFacts> => {
      const path = model.path ?? model.name
      const [file, part] = await Promise.all(
        [path, `${path}.part`].map((name) => systemFiles.stat(join(plan.paths.models, name))),
      )
      return { model, file, known: index?.files[path], partBytes: part?.bytes ?? 0 }
    }),
  )
}

/** The nearest directory that exists: the volume of one that is still to be made. */
async function nearest(files: Files, path: string): Promise<string> {
  return path === '/' || (await files.stat(path)) !== undefined ? path : nearest(files, dirname(path))
}
