import { MachineError } from '../errors.ts'
import type { ComponentSource, WantedModel, WantedNode } from './components.ts'

/** Every wanted node once, in the order of installation. Throws CM1606 naming both sources of a conflict. */
export function mergeNodes(sources: readonly ComponentSource[]): readonly WantedNode[] {
  const byName = new Map<string, WantedNode>()
  for (const node of sources.flatMap(({ nodes }) => nodes)) {
    const known = byName.get(node.name)
    byName.set(node.name, known === undefined ? node : mergeNode(known, node))
  }
  return orderNodes([...byName.values()])
}

/** Defaults by install_order, then further nodes by install_order, then those without one by name. */
function orderNodes(nodes: readonly WantedNode[]): readonly WantedNode[] {
  const group = (node: WantedNode): number => (node.isDefault ? 0 : node.installOrder === null ? 2 : 1)
  const compareNames = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
  return nodes.toSorted((a, b) => {
    const byGroup = group(a) - group(b)
    if (byGroup !== 0) return byGroup
    const aOrder = a.installOrder ?? Number.MAX_SAFE_INTEGER
    const bOrder = b.installOrder ?? Number.MAX_SAFE_INTEGER
    return aOrder === bOrder ? compareNames(a.name, b.name) : aOrder - bOrder
  })
}

function mergeNode(a: WantedNode, b: WantedNode): WantedNode {
  const conflict = (what: string, left: string, right: string): MachineError =>
    new MachineError(
      'CM1606',
      `custom node ${a.name}: ${a.sources.join(', ')} wants ${what} ${left}, ${b.sources.join(', ')} wants ${right}`,
    )
  const pick = (what: string, left: string | null, right: string | null): string | null => {
    if (left !== null && right !== null && left !== right) throw conflict(what, left, right)
    return left ?? right
  }
  if (comparableUrl(a.url) !== comparableUrl(b.url)) throw conflict('the repository', a.url, b.url)
  const env = { ...a.env }
  const classes = [...new Set([...(a.classes ?? []), ...(b.classes ?? [])])]
  for (const [name, value] of Object.entries(b.env)) env[name] = pick(`${name} as`, env[name] ?? null, value) ?? value
  return {
    ...a,
    branch: pick('the branch', a.branch, b.branch),
    commit: pick('the commit', a.commit, b.commit),
    recursive: a.recursive || b.recursive,
    requirements: a.requirements || b.requirements,
    env,
    customScript: pick('the script', a.customScript, b.customScript),
    installOrder: a.isDefault ? a.installOrder : (a.installOrder ?? b.installOrder),
    sources: [...new Set([...a.sources, ...b.sources])],
    ...(classes.length === 0 ? {} : { classes }),
  }
}

function comparableUrl(url: string): string {
  return url
    .replace(/\/+$/, '')
    .replace(/\.git$/, '')
    .toLowerCase()
}

/** Every wanted model once, by its place. Throws CM1606 when one place is to hold two different files. */
export function mergeModels(sources: readonly ComponentSource[]): readonly WantedModel[] {
  const byPlace = new Map<string, WantedModel>()
  for (const model of sources.flatMap(({ models }) => models)) {
    const place = model.path ?? `\0${model.name}`
    const known = byPlace.get(place)
    byPlace.set(place, known === undefined ? model : mergeModel(known, model))
  }
  return dropNamed([...byPlace.values()])
}

/** A model that is only named is the one that another source gives whole. */
function dropNamed(models: readonly WantedModel[]): readonly WantedModel[] {
  const whole = new Set(
    models.flatMap(({ url, path }) => (url === null || path === null ? [] : [path.split('/').at(-1)])),
  )
  const isWhole = ({ url, path, name }: WantedModel): boolean => url !== null || path !== null || !whole.has(name)
  const named = new Set(models.filter((model) => !isWhole(model)).map(({ name }) => name))
  return models.filter(isWhole).map((model) => (named.has(fileOf(model)) ? beforeStart(model) : model))
}

const fileOf = ({ path, name }: WantedModel): string => path?.split('/').at(-1) ?? name

// Who needs it before the start is not served by having it later.
function beforeStart({ when: _, ...model }: WantedModel): WantedModel {
  return model
}

function mergeModel(a: WantedModel, b: WantedModel): WantedModel {
  const sameHash = a.sha256 !== null && a.sha256 === b.sha256
  const conflict = (what: string): MachineError =>
    new MachineError(
      'CM1606',
      `model ${a.path ?? a.name}: ${a.sources.join(', ')} and ${b.sources.join(', ')} want different ${what}`,
    )
  if (a.sha256 !== null && b.sha256 !== null && !sameHash) throw conflict('hashes')
  if (!sameHash && a.url !== null && b.url !== null && a.url !== b.url) throw conflict('URLs')
  return {
    name: a.name,
    path: a.path,
    url: a.url ?? b.url,
    bytes: a.bytes ?? b.bytes,
    estimatedBytes: Math.max(a.estimatedBytes, b.estimatedBytes),
    sha256: a.sha256 ?? b.sha256,
    authEnvVar: a.url === null ? b.authEnvVar : a.authEnvVar,
    ...(a.when === undefined || b.when === undefined ? {} : { when: a.when }),
    sources: [...new Set([...a.sources, ...b.sources])],
  }
}
