import type { WantedModel, WantedNode } from '../install/components.ts'

/** A custom node that a ComfyUI is to offer. */
export interface ExpectedNode extends Pick<WantedNode, 'name' | 'commit' | 'requirements'> {
  /** Classes that the component source says the node has; empty when it does not say. */
  readonly classes: readonly string[]
}

/** What a ComfyUI is to have. */
export interface Expected {
  readonly nodes: readonly ExpectedNode[]
  readonly models: readonly WantedModel[]
}

type Source = { readonly nodes?: readonly Partial<ExpectedNode>[]; readonly models?: readonly WantedModel[] }

/** What `machine.lock.json` or `components.json` asks of a ComfyUI; nothing when there is no such file. */
export function parseExpected(text: string | undefined): Expected {
  const { nodes = [], models = [] } = text === undefined ? {} : (JSON.parse(text) as Source)
  return {
    nodes: nodes.flatMap(({ name, commit, requirements, classes }) =>
      name === undefined
        ? []
        : [{ name, commit: commit ?? null, requirements: requirements === true, classes: classes ?? [] }],
    ),
    models,
  }
}
