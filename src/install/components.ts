import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import { type InstallContext, parseRecord } from './context.ts'
import type { MachineLock } from './machine-lock.ts'

/** A custom node as this machine installs it; names, URL and commit are safe to use. */
export interface WantedNode {
  readonly name: string
  readonly url: string
  readonly branch: string | null
  readonly commit: string | null
  readonly recursive: boolean
  readonly requirements: boolean
  /** Values are references to variables, never secrets. */
  readonly env: Readonly<Record<string, string>>
  readonly customScript: string | null
  readonly installOrder: number | null
  readonly isDefault: boolean
  /** Classes that it has, where the source says so. */
  readonly classes?: readonly string[]
  /** Who asked for it: `defaults`, `workflow x`, `collection y`. */
  readonly sources: readonly string[]
}

/** A model as this machine wants it. `path` is relative to the models folder; null when the source did not say. */
export interface WantedModel {
  readonly name: string
  readonly url: string | null
  readonly path: string | null
  /** Exact size where the source gave a number of bytes. */
  readonly bytes: number | null
  /** Size for estimates: exact, or out of a text like `11.9GB`; 0 when unknown. */
  readonly estimatedBytes: number
  readonly sha256: string | null
  readonly authEnvVar: string | null
  /** The machine is ready without it and brings it afterwards; absent for a model that is needed before the start. */
  readonly when?: 'after_start'
  readonly sources: readonly string[]
}

/** What the discovery was asked for; another request makes an old answer worthless. */
export interface ComponentQuestion {
  readonly apiUrl: string | null
  readonly workflows: readonly string[]
  readonly collections: readonly string[]
  readonly allowInsecureSources: boolean
}

/** `components.json` in the workspace: the resolved answer of the discovery, nodes in the order of installation. */
export interface Components {
  readonly schema: 1
  readonly question: ComponentQuestion
  /** sha256 of the answers of the API and the version of the program that read them. */
  readonly answer: string
  readonly nodes: readonly WantedNode[]
  readonly models: readonly WantedModel[]
  /** The lock that all of it is from; absent where the component API was asked. */
  readonly lock?: MachineLock
}

/** Name of the file in the workspace. */
export const COMPONENTS_FILE = 'components.json'

/** Name of the file that an update of a running machine writes instead. */
export const NEXT_COMPONENTS_FILE = 'components.next.json'

/** What the discovery found. Throws CM0001 when there is nothing of it. */
export async function readComponents({ plan, host }: InstallContext, file: string): Promise<Components> {
  const components = parseRecord<Components>(await host.files.readText(join(plan.paths.workspace, file)))
  if (components !== undefined) return components
  throw new MachineError('CM0001', `there is no ${file}; comfy-discover writes it`)
}

/** What one source (the defaults, a workflow, a collection) asks for. */
export interface ComponentSource {
  readonly label: string
  readonly nodes: readonly WantedNode[]
  readonly models: readonly WantedModel[]
}
