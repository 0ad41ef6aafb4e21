import { MachineError } from '../errors.ts'
import { safeGitUrl, safeModelPath, safeModelUrl, safeName, safeRevision, safeVariable } from './component-safety.ts'
import type { ApiCollection, ApiModel, ApiNode, ApiWorkflow } from './component-schema.ts'
import type { ComponentSource, WantedModel, WantedNode } from './components.ts'

/** A node of an answer as this machine installs it. Throws CM1607 when it is not safe. */
export function toWantedNode(node: ApiNode, source: string, isDefault: boolean, allowInsecure: boolean): WantedNode {
  const name = safeName(node.name, `custom node of ${source}`)
  const env = node.env ?? {}
  for (const variable of Object.keys(env)) safeVariable(variable, `custom node ${name}`)
  const classes = node.node_classes ?? []
  const script = node.custom_script?.trim() ?? ''
  return {
    name,
    url: safeGitUrl(node.repositoryUrl, name, allowInsecure),
    branch: safeRevision(node.branch, name),
    commit: safeRevision(node.commit, name)?.toLowerCase() ?? null,
    recursive: node.recursive,
    requirements: node.requirements,
    env,
    customScript: script === '' ? null : script,
    installOrder: node.install_order ?? null,
    isDefault,
    sources: [source],
    ...(classes.length === 0 ? {} : { classes }),
  }
}

/** A model of an answer as this machine wants it. Throws CM1604 for a hash that is none, CM1607 when it is not safe. */
export function toWantedModel(model: ApiModel, source: string, allowInsecure: boolean): WantedModel {
  if (typeof model === 'string') {
    const path = model.startsWith('models/') ? safeModelPath(model, model) : null
    const name = model.split('/').at(-1) ?? model
    const bare = { url: null, path, bytes: null, estimatedBytes: 0, sha256: null, authEnvVar: null }
    return { name: safeName(name, `model of ${source}`), ...bare, sources: [source] }
  }
  const name = safeName(model.name, `model of ${source}`)
  const url = safeModelUrl(model.downloadUrl ?? model.url ?? model.download_url, name, allowInsecure)
  const saveTo = model.saveTo?.trim() ?? ''
  const { exact, estimate } = parseSize(model.fileSize)
  return {
    name,
    url,
    path: saveTo === '' ? null : safeModelPath(saveTo, name),
    bytes: exact,
    estimatedBytes: estimate,
    sha256: parseHash(model.hash, name),
    authEnvVar: safeVariable(model.authEnvVar, `model ${name}`),
    ...(model.when === 'after_start' ? { when: model.when } : {}),
    sources: [source],
  }
}

/** Bytes out of a number or a text like `11.9GB`; `exact` only where it is a number of bytes. */
export function parseSize(size: string | number | null | undefined): { exact: number | null; estimate: number } {
  const text = String(size ?? '').trim()
  if (/^\d+$/.test(text) && Number(text) > 0) return { exact: Number(text), estimate: Number(text) }
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT])(i?)B?$/i.exec(text)
  if (match === null) return { exact: null, estimate: 0 }
  const power = 'KMGT'.indexOf((match[2] ?? 'K').toUpperCase()) + 1
  return { exact: null, estimate: Math.round(Number(match[1]) * (match[3] === '' ? 1000 : 1024) ** power) }
}

function parseHash(hash: string | null | undefined, model: string): string | null {
  const text = (hash ?? '')
    .trim()
    .replace(/^sha256:/i, '')
    .toLowerCase()
  if (text === '') return null
  if (/^[0-9a-f]{64}$/.test(text)) return text
  throw new MachineError('CM1604', `model ${model}: the hash ${JSON.stringify(hash)} is not a sha256`)
}

/** The answers as sources. Throws CM1605 for a wanted workflow or collection that the API does not know. */
export function toSources(
  wanted: { readonly workflows: readonly string[]; readonly collections: readonly string[] },
  answer: {
    readonly defaults: readonly ApiNode[]
    readonly workflows: readonly ApiWorkflow[]
    readonly collections: readonly ApiCollection[]
  },
  allowInsecure: boolean,
): readonly ComponentSource[] {
  const known = new Set([
    ...answer.workflows.map(({ workflow_name: name }) => `workflow ${name}`),
    ...answer.collections.map(({ collection_id: id }) => `collection ${id}`),
  ])
  const asked = [
    ...wanted.workflows.map((name) => `workflow ${name}`),
    ...wanted.collections.map((id) => `collection ${id}`),
  ]
  const missing = asked.filter((label) => !known.has(label))
  if (missing.length > 0) throw new MachineError('CM1605', `the component API does not know ${missing.join(', ')}`)
  const toSource = (label: string, part: Pick<ApiWorkflow, 'models' | 'custom_nodes'>): ComponentSource => ({
    label,
    nodes: (part.custom_nodes ?? []).map((node) => toWantedNode(node, label, false, allowInsecure)),
    models: (part.models ?? []).map((model) => toWantedModel(model, label, allowInsecure)),
  })
  return [
    {
      label: 'defaults',
      nodes: answer.defaults.map((node) => toWantedNode(node, 'defaults', true, allowInsecure)),
      models: [],
    },
    ...answer.workflows.map((workflow) => toSource(`workflow ${workflow.workflow_name}`, workflow)),
    ...answer.collections.map((collection) => toSource(`collection ${collection.collection_id}`, collection)),
  ]
}
