import type { WantedModel } from '../install/components.ts'
import { missingBytes, planModel, type VerifiedFile } from './model-plan.ts'

/** One model that has to be read or downloaded. */
export interface ModelChange {
  readonly name: string
  readonly path: string | null
  readonly action: 'verify' | 'download' | 'find'
  /** Bytes still to be downloaded; null when the size is not known. */
  readonly bytes: number | null
  /** Host that it comes from. */
  readonly host: string | null
}

/** A wanted model and its file. */
export interface ModelFacts {
  readonly model: WantedModel
  readonly file: { readonly bytes: number; readonly mtimeMs: number } | undefined
  readonly known: VerifiedFile | undefined
  /** Bytes of an unfinished download. */
  readonly partBytes: number
}

/** The models that an installation now would read or download. */
export function previewModels(facts: readonly ModelFacts[]): readonly ModelChange[] {
  return facts.flatMap(modelChange)
}

function modelChange({ model, file, known, partBytes }: ModelFacts): readonly ModelChange[] {
  const { name, path } = model
  if (path === null) return file === undefined ? [{ name, path, action: 'find', bytes: null, host: null }] : []
  const action = planModel(model, file, known)
  if (action === 'keep') return []
  const host = model.url === null ? null : new URL(model.url).host
  if (action === 'verify') return [{ name, path, action, bytes: null, host }]
  const bytes = model.estimatedBytes === 0 ? null : missingBytes([{ estimatedBytes: model.estimatedBytes, partBytes }])
  return [{ name, path, action, bytes, host }]
}
