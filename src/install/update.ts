import type { HttpClient } from '../host/install-ports.ts'
import { placesOf, pointerTo } from '../plan/places.ts'
import type { BuildTools } from './build-generation.ts'
import { resolveSource } from './comfyui-source.ts'
import { NEXT_COMPONENTS_FILE, readComponents } from './components.ts'
import { type InstallContext, note, progress } from './context.ts'
import { discoverComponents } from './discover.ts'
import { readCurrent } from './generations.ts'
import { provideGeneration } from './provide-generation.ts'
import { DEFAULT_RETRY } from './retry.ts'

/** What an update opens as it comes to it. */
export interface UpdateTools {
  readonly openHttp: () => Promise<HttpClient>
  readonly openBuild: () => Promise<BuildTools>
  /** Brings the models of a file of components. */
  readonly bringModels: (componentsFile: string) => Promise<void>
}

/**
 * Everything that the machine wants, asked for anew while it runs: components, the ref of ComfyUI, the heads of branches,
 * packages, models. What comes of it is named by the pointer `next` when it is whole; nothing of what runs is touched.
 */
export async function installUpdate(context: InstallContext, tools: UpdateTools): Promise<void> {
  const { files } = context.host
  const { next } = placesOf(context.plan.paths.workspace)
  await discoverComponents(context, tools.openHttp, DEFAULT_RETRY, NEXT_COMPONENTS_FILE)
  const components = await readComponents(context, NEXT_COMPONENTS_FILE)
  let opened: Promise<BuildTools> | undefined
  const open = (): Promise<BuildTools> => {
    opened ??= tools.openBuild()
    return opened
  }
  let brought: Promise<void> | undefined
  const bringModels = (): Promise<void> => {
    brought ??= tools.bringModels(NEXT_COMPONENTS_FILE)
    return brought
  }
  progress(context, 'asking what ComfyUI is at')
  const source = components.lock?.comfyui ?? (await resolveSource(context, (await open()).git)).source
  const generation = await provideGeneration(context, open, {
    components,
    source,
    purpose: 'update',
    beforeComplete: bringModels,
  })
  await bringModels()
  const current = await readCurrent(context)
  if (current?.id === generation.id) return note(context, `the machine is on generation ${generation.id} already`)
  await files.link(pointerTo(generation.id), next)
  note(context, `generation ${generation.id} is whole and goes to the first GPU next`)
}
