import { dirname, join } from 'node:path'
import type { MachineConfig } from '../config/load-config.ts'
import { systemClock } from '../host/clock.ts'
import { digest } from '../host/digest.ts'
import { systemExec } from '../host/exec.ts'
import { systemFiles } from '../host/files.ts'
import { mirroredCommits } from '../host/git-mirrors.ts'
import { openHttpClient } from '../host/http-client.ts'
import type { InstallHost } from '../host/install-ports.ts'
import type { Fetcher } from '../host/model-ports.ts'
import type { Files, FreeSpace } from '../host/ports.ts'
import { stopSignal } from '../host/signals.ts'
import { isWantedSource, readSource } from '../install/comfyui-source.ts'
import { COMPONENTS_FILE, type Components, type WantedModel, type WantedNode } from '../install/components.ts'
import { type InstallContext, parseRecord } from '../install/context.ts'
import { discoverComponents } from '../install/discover.ts'
import { readCurrent } from '../install/generations.ts'
import type { MachineLock } from '../install/machine-lock.ts'
import { readVerified } from '../install/model-hashes.ts'
import { type InstallationPreview, previewChanges } from '../install/preview.ts'
import { networkVariables } from '../install/python-packages.ts'
import { readInterpreter, wishKey } from '../install/wish.ts'
import { groupWorks } from '../models/group-works.ts'
import { planWorks } from '../models/plan-works.ts'
import { askSizes, readNeeds, shortageOf, sumNeeds } from '../models/preflight.ts'
import { type ModelChange, previewModels, readArrived } from '../models/preview-models.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { stepOf } from '../steps.ts'
import { openFetcherFor } from './install-tools.ts'

const STEP_OF_DISCOVERY = 16
const SIZES_MS = 5_000
const BOOT_ID = '/proc/sys/kernel/random/boot_id'

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
  const { changes, needed } = await readModels(context, models)
  const preview = previewChanges({
    lock: current?.lock,
    comfyui: plan.comfyui,
    nodes,
    isSameWish: current !== undefined && (await isSameWish(context, nodes, current.lock, components?.lock)),
    isLocked: plan.components.lockFile !== null,
    mirrors: await findMirrors(plan, urls),
    models: changes,
  })
  const free = await systemFiles.freeSpace(await nearest(systemFiles, plan.paths.models))
  const disk = {
    path: plan.paths.models,
    neededBytes: needed.bytes,
    freeBytes: free.bytes,
    neededInodes: needed.inodes,
    freeInodes: free.inodes,
    fits: shortageOf(needed, free) === undefined,
  }
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

/** What happens to the models, asking their sources for sizes that nobody else tells. */
async function readModels(context: InstallContext, models: readonly WantedModel[]): Promise<ModelsPreview> {
  const works = await planWorks(context, await readVerified(context), models)
  const groups = groupWorks(
    context,
    works.filter(({ action, error }) => action === 'download' && error === undefined),
  )
  const asked = openSizes(context)
  const sizes = await askSizes(context, asked, groups).finally(asked.close)
  const needs = await readNeeds(context, groups, sizes)
  const boot = (await context.host.files.readText(BOOT_ID))?.trim() ?? ''
  const arrived = await readArrived(context.host.files, groups, boot)
  return { changes: previewModels(works, sizes, arrived), needed: sumNeeds([...needs.values()]) }
}

interface ModelsPreview {
  readonly changes: readonly ModelChange[]
  readonly needed: FreeSpace
}

/** Asks for sizes for as long as a person may wait; what is not answered by then is not known. */
function openSizes(context: InstallContext): Pick<Fetcher, 'sizeOf'> & { readonly close: () => Promise<void> } {
  const signal = AbortSignal.any([context.host.signal, AbortSignal.timeout(SIZES_MS)])
  let opened: Promise<Fetcher> | undefined
  return {
    async sizeOf(sources) {
      opened ??= openFetcherFor(context, signal)
      try {
        return await (await opened).sizeOf(sources)
      } catch (error) {
        context.host.signal.throwIfAborted()
        if (signal.aborted) return null
        throw error
      }
    },
    close: async () => (await opened)?.close(),
  }
}

/** The nearest directory that exists: the volume of one that is still to be made. */
async function nearest(files: Files, path: string): Promise<string> {
  return path === '/' || (await files.stat(path)) !== undefined ? path : nearest(files, dirname(path))
}
