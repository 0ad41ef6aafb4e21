import { MachineError } from '../errors.ts'
import type { BuildTools } from './build-generation.ts'
import { collectGenerations, removeUnfinished } from './collect.ts'
import { readSource } from './comfyui-source.ts'
import { COMPONENTS_FILE, readComponents } from './components.ts'
import { type InstallContext, reportFacts } from './context.ts'
import { provideGeneration } from './provide-generation.ts'
import { setPointers } from './set-pointers.ts'

/**
 * Step 17: the generation that this machine wants, with every node in it, and the pointers to it. It is built when there is
 * none for this wish; a build that fails leaves those that are there, and the pointers to them, as they are.
 */
export async function installNodes(context: InstallContext, open: () => Promise<BuildTools>): Promise<void> {
  const components = await readComponents(context, COMPONENTS_FILE)
  const source = components.lock?.comfyui ?? (await readSource(context))
  if (source === undefined) {
    throw new MachineError('CM0001', 'the source of ComfyUI is not known; comfy-install-comfyui finds it out')
  }
  const generation = await provideGeneration(context, open, { components, source, purpose: 'start' })
  const { how } = await setPointers(context, generation)
  reportFacts(context, { 'generation.pointers': how })
  await removeUnfinished(context, new Set())
  await collectGenerations(context)
}
