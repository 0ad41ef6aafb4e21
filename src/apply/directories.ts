import path from 'node:path'
import type { MachineConfig } from '../config/load-config.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { secretsDirectory } from '../render/unit-values.ts'
import type { ActionOf } from './actions.ts'

const CACHE = '/var/cache/comfy-machine'
const INSTALLER = 'comfy'
// The installers write beside the controller here: the sticky bit keeps its own directories out of their reach.
const SHARED = { owner: 'root:comfy', mode: 0o1775 } as const

type MakeDirectory = ActionOf<'make-directory'>

/** The directories that a machine needs before anything is planned: the workspace, the models, the caches. */
export function directoriesOf(config: Pick<MachineConfig, 'workspace' | 'models'>): readonly MakeDirectory[] {
  const own = [config.models, path.join(config.workspace, 'comfyui'), path.join(config.workspace, 'instances'), CACHE]
  return [
    { kind: 'make-directory', path: config.workspace, ...SHARED },
    ...own.map((directory) => ({ kind: 'make-directory', path: directory, owner: INSTALLER, mode: 0o755 }) as const),
  ]
}

/** The place of the secrets that units get. What a ComfyUI instance has of its own is made by the installer, as its user. */
export function secretsDirectoryAction(plan: MachinePlan): MakeDirectory {
  return { kind: 'make-directory', path: secretsDirectory(plan), owner: 'root', mode: 0o700 }
}
