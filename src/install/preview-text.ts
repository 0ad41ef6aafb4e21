import { formatBytes } from '../emit/bytes.ts'
import type { ModelChange } from '../models/preview-models.ts'
import type { InstallationPreview, NodeChange } from './preview.ts'

const SIGNS = { add: '+', update: '~', remove: '-', same: ' ' } as const
const SOURCES = {
  nothing: '',
  cache: 'from the cache',
  fetch: 'fetched into its mirror',
  clone: 'cloned',
} as const

/** The preview for people, a section each: ComfyUI, custom nodes, Python packages, models, disk. What stays is counted, not listed. */
export function previewLines(preview: InstallationPreview): readonly string[] {
  return [
    'comfyui',
    `  ${comfyuiText(preview)}`,
    'custom nodes',
    ...nodeLines(preview.nodes),
    'python packages',
    `  ${REQUIREMENTS[preview.requirements]}`,
    'models',
    ...modelLines(preview),
    'disk',
    `  ${diskText(preview)}`,
  ]
}

const REQUIREMENTS = {
  same: 'nothing changes',
  resolve: '~ all requirements are resolved together',
  locked: '~ installed as the lock says',
} as const

function comfyuiText({ comfyui, generation, isNewGeneration }: InstallationPreview): string {
  const { change, from, to } = comfyui
  const next = isNewGeneration ? ', a new generation is built' : ''
  if (change === 'add') return `+ ${to}${next}`
  const now = generation === null ? '' : `, generation ${generation}`
  return change === 'same' ? `${from}${now}${next}` : `~ ${from} → ${to}${now}${next}`
}

function nodeLines(nodes: readonly NodeChange[]): readonly string[] {
  const changed = nodes.filter(({ change }) => change !== 'same')
  const same = nodes.length - changed.length
  const lines = changed.map(({ name, change, url, from, to, source }) => {
    const commits = [from, to].map((commit) => commit?.slice(0, 10) ?? null)
    const move = change === 'remove' ? `at ${commits[0]}` : change === 'add' ? at(commits[1]) : moveText(commits)
    return [`  ${SIGNS[change]} ${name}`, url, move, SOURCES[source]].filter((part) => part !== '').join('  ')
  })
  return [...lines, same === 0 && lines.length > 0 ? '' : `  ${same} unchanged`].filter((line) => line !== '')
}

function at(commit: string | null | undefined): string {
  return commit === null || commit === undefined ? 'newest commit' : `at ${commit}`
}

function moveText([from, to]: readonly (string | null)[]): string {
  return from === to ? at(to) : `${from ?? 'nothing'} → ${to ?? 'newest commit'}`
}

function modelLines({ models, downloadBytes, unknownSizes }: InstallationPreview): readonly string[] {
  if (models.length === 0) return ['  nothing changes']
  const unknown = unknownSizes === 0 ? '' : `, and ${unknownSizes} whose size is not known`
  const bytes = downloadBytes.toLocaleString('en')
  return [...models.map(modelText), `  ${formatBytes(downloadBytes)} (${bytes} bytes) to download${unknown}`]
}

function modelText({ name, path, action, bytes, host }: ModelChange): string {
  const where = path ?? name
  if (action === 'find') return `  ? ${where}  has no source and is not there`
  if (action === 'verify') return `  ~ ${where}  is there and is read once to be verified`
  if (action === 'place') return `  + ${where}  shares the content of a file that is there or comes`
  return `  + ${where}  ${bytes === null ? 'size not known' : formatBytes(bytes)}  from ${host ?? 'nowhere'}`
}

function diskText({ disk }: InstallationPreview): string {
  const { path, neededBytes, freeBytes, neededInodes, freeInodes, fits } = disk
  const inodes = neededInodes > freeInodes ? `, ${neededInodes} inodes needed, ${freeInodes} free` : ''
  const text = `${path}: ${formatBytes(neededBytes)} needed, ${formatBytes(freeBytes)} free${inodes}`
  return fits ? text : `${text}: the models do not fit`
}
