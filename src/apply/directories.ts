import path from 'node:path'
import type { MachineConfig } from '../config/load-config.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { instanceDirectories, secretsDirectory } from '../render/unit-values.ts'
import type { ActionOf } from './actions.ts'

const CACHE = '/var/cache/comfy-machine'
const INSTALLER = 'comfy'

type MakeDirectory = ActionOf<'make-directory'>

/** The directories that a machine needs before anything is planned: the workspace, the models, the caches. */
export function directoriesOf(config: Pick<MachineConfig, 'workspace' | 'models'>): readonly MakeDirectory[] {
  const own = [
    config.workspace,
    config.models,
    path.join(config.workspace, 'comfyui'),
    path.join(config.workspace, 'instances'),
    CACHE,
  ]
  return own.map((directory) => ({ kind: 'make-directory', path: directory, owner: INSTALLER, mode: 0o755 }))
}

/** The directories of a plan: what no two ComfyUI instances may share, and the place of the secrets. */
export function instanceDirectoryActions(plan: MachinePlan): readonly MakeDirectory[] {
  const instances = plan.instances.flatMap(({ gpu }) => {
    const own = instanceDirectories(plan, gpu)
    return [path.dirname(own.output), ...Object.values(own)]
  })
  return [
    ...instances.map(
      (directory) => ({ kind: 'make-directory', path: directory, owner: INSTALLER, mode: 0o755 }) as const,
    ),
    { kind: 'make-directory', path: secretsDirectory(plan), owner: 'root', mode: 0o700 },
  ]
}
