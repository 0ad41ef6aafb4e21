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

/**
 * What a ComfyUI is to have: the nodes of its generation's `machine.lock.json`, and from `components.json`, which is made anew
 * at each start and a lock is not, the models and what the component source says of nodes. Either may be absent.
 */
export function parseExpected(lock: string | undefined, components: string | undefined): Expected {
  const [locked, discovered] = [parse(lock), parse(components)]
  const told = new Map(discovered?.nodes.map((node) => [node.name, node.classes]))
  const nodes = (locked ?? discovered)?.nodes ?? []
  return {
    nodes: nodes.map((node) => ({ ...node, classes: told.get(node.name) ?? node.classes })),
    models: (discovered ?? locked)?.models ?? [],
  }
}

function parse(text: string | undefined): Expected | undefined {
  if (text === undefined) return undefined
  const { nodes = [], models = [] } = JSON.parse(text) as Source
  const known = nodes.flatMap(({ name, commit, requirements, classes }) =>
    name === undefined
      ? []
      : [{ name, commit: commit ?? null, requirements: requirements === true, classes: classes ?? [] }],
  )
  return { nodes: known, models }
}
