import type { WantedModel, WantedNode } from '../install/components.ts'

/** A custom node that a ComfyUI is to offer. */
export interface ExpectedNode extends Pick<WantedNode, 'name' | 'commit' | 'requirements'> {
  /** Classes that the component source says the node has; empty when it does not say. */
  readonly classes: readonly string[]
}

/** What a ComfyUI is to have when it starts. */
export interface Expected {
  readonly nodes: readonly ExpectedNode[]
  readonly models: readonly WantedModel[]
}

type Source = { readonly nodes?: readonly Partial<ExpectedNode>[]; readonly models?: readonly WantedModel[] }

/** What a ComfyUI is to have: what `machine.lock.json` of its generation says, or `components.json` where there is no lock. */
export function parseExpected(lock: string | undefined, components: string | undefined): Expected {
  return parse(lock) ?? parse(components) ?? { nodes: [], models: [] }
}

function parse(text: string | undefined): Expected | undefined {
  if (text === undefined) return undefined
  const { nodes = [], models = [] } = JSON.parse(text) as Source
  const known = nodes.flatMap(({ name, commit, requirements, classes }) =>
    name === undefined
      ? []
      : [{ name, commit: commit ?? null, requirements: requirements === true, classes: classes ?? [] }],
  )
  return { nodes: known, models: models.filter(({ when }) => when !== 'after_start') }
}
