import type { Progress } from '../report.ts'
import { renderProgress } from './model-plan.ts'

const SHOWN_FILES = 3

/** Progress for one line of a terminal: the whole, and then how far each of some files is. */
export function progressText(progress: Progress): string {
  const { files = [] } = progress
  const shown = files.slice(0, SHOWN_FILES).map(({ name, bytes, totalBytes }) => {
    if (totalBytes === undefined || totalBytes === 0) return name
    return `${name} ${Math.floor((Math.min(bytes, totalBytes) / totalBytes) * 100)} %`
  })
  const rest = files.length > SHOWN_FILES ? [`${files.length - SHOWN_FILES} more`] : []
  return [renderProgress(progress), ...shown, ...rest].join(', ')
}
