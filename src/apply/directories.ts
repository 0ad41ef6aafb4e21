import path from 'node:path'
import type { MachineConfig } from '../config/load-config.ts'
import { placesOf } from '../plan/places.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { secretsDirectory } from '../render/common-values.ts'
import { homeDirectory, instanceDirectories, instancesDirectory } from '../render/unit-values.ts'
import type { ActionOf } from './actions.ts'

const CACHE = '/var/cache/comfy-machine'
const CACHES = ['git', 'uv', 'pip', 'home'] as const
const INSTALLER = 'comfy-install:comfy'
const RUNNER = 'comfy:comfy'

type MakeDirectory = ActionOf<'make-directory'>

const make = (directory: string, owner: string, mode: number): MakeDirectory => ({
  kind: 'make-directory',
  path: directory,
  owner,
  mode,
})

/** The directories that a machine needs before anything is planned, parents first: the workspace, the models, the caches. */
export function directoriesOf(config: Pick<MachineConfig, 'workspace' | 'models'>): readonly MakeDirectory[] {
  const { home, nodeEnv } = placesOf(config.workspace)
  return [
    // The installers write beside the controller here: the sticky bit keeps its own directories out of their reach.
    make(config.workspace, 'root:comfy', 0o1775),
    make(home, INSTALLER, 0o755),
    // ComfyUI may add models of its own.
    make(config.models, INSTALLER, 0o775),
    make(nodeEnv, INSTALLER, 0o750),
    make(CACHE, INSTALLER, 0o755),
    ...CACHES.map((name) => make(path.join(CACHE, name), INSTALLER, 0o755)),
  ]
}

/** The directories that a plan needs, parents first: the secrets that units get, and what ComfyUI may write. */
export function directoriesOfPlan(plan: MachinePlan): readonly MakeDirectory[] {
  const instances = instancesDirectory(plan)
  return [
    make(secretsDirectory(plan), 'root', 0o700),
    // Root makes directories below these, and so nobody else may put links there.
    ...[instances, ...plan.instances.map(({ gpu }) => path.join(instances, gpu))].map((each) =>
      make(each, 'root', 0o755),
    ),
    ...plan.instances
      .flatMap(({ gpu }) => Object.values(instanceDirectories(plan, gpu)))
      .map((each) => make(each, RUNNER, 0o755)),
    make(homeDirectory(plan), RUNNER, 0o755),
  ]
}
