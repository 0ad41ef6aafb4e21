import type { LaterModelsState } from '../observe/state.ts'
import { formatDuration } from './duration.ts'

/** What is loaded after the start, in one sentence without a full stop: `3 models (40.0 GB) are loaded after the start`. */
export function laterModelsBegun({ progress }: LaterModelsState): string {
  const total = progress?.total ?? 0
  return `${countOf(total)}${sizeOf(progress?.totalBytes)} ${total === 1 ? 'is' : 'are'} loaded after the start`
}

/** What came of it when all of them are there, in one sentence without a full stop. */
export function laterModelsDone({ attributes, startUs, endUs }: LaterModelsState): string {
  const [wanted, brought] = [numberOf(attributes['models.wanted']), numberOf(attributes['models.downloaded'])]
  const bytes = numberOf(attributes['models.downloaded_bytes'])
  const took = endUs === undefined ? '' : ` in ${formatDuration(endUs - startUs)}`
  const all = wanted === 1 ? 'the model that was' : `all ${wanted} models that were`
  return `${all} to be loaded after the start ${wanted === 1 ? 'is' : 'are'} there: ${brought} downloaded${sizeOf(bytes)}${took}`
}

/** What goes on with them now, for one line; undefined when nothing does. */
export function laterModelsSentence(loading: LaterModelsState | undefined): string | undefined {
  if (loading === undefined) return undefined
  const { state, progress, detail } = loading
  if (state !== 'running' || progress === undefined) return undefined
  return `loading after the start: ${detail ?? `${progress.done}/${progress.total} models`}`
}

const countOf = (count: number): string => `${count} ${count === 1 ? 'model' : 'models'}`

const numberOf = (value: unknown): number => (typeof value === 'number' ? value : 0)

function sizeOf(bytes: number | undefined): string {
  if (bytes === undefined || bytes === 0) return ''
  return bytes >= 1e9 ? ` (${(bytes / 1e9).toFixed(1)} GB)` : ` (${(bytes / 1e6).toFixed(1)} MB)`
}
