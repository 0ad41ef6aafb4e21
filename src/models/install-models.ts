import { definitionOf, MachineError } from '../errors.ts'
import { COMPONENTS_FILE, readComponents } from '../install/components.ts'
import { type InstallContext, note, reportFacts } from '../install/context.ts'
import { bringModels, type ModelTools } from './bring-models.ts'
import { endChild, type ModelWork } from './model-work.ts'

/** Which of the wanted models: those that the start needs, or those that may come after it. */
type When = 'before' | 'after'

/** Step 18: every wanted model, whole and verified under its name. One that fails does not stop the others. */
export async function installModels(
  context: InstallContext,
  open: () => Promise<ModelTools>,
  componentsFile = COMPONENTS_FILE,
  which: When = 'before',
): Promise<void> {
  const { models } = await readComponents(context, componentsFile)
  const wanted = models.filter(({ when }) => (when === 'after_start') === (which === 'after'))
  if (which === 'before') reportFacts(context, { 'models.later': models.length - wanted.length })
  const command = `comfy-machine install ${which === 'before' ? 'models' : 'later-models'}`
  finish(context, await bringModels(context, open, wanted, { command, isPatient: true }), which)
}

/** Records what is left to tell of all models and their sum. Throws the first failure; after the start, one that may pass before others. */
export function finish(context: InstallContext, works: readonly ModelWork[], which: When = 'before'): void {
  const failed = works.filter(({ error }) => error !== undefined)
  for (const work of works.filter(({ isReported }) => !isReported)) endChild(context, work, work.startUs)
  const brought = works.filter(
    ({ state, error, action }) => state === 'done' && error === undefined && action === 'download',
  )
  reportFacts(context, {
    'models.wanted': works.length,
    'models.downloaded': brought.length,
    'models.downloaded_bytes': brought.reduce((sum, { bytes, resumed }) => sum + bytes - resumed, 0),
    'models.unchanged': works.length - brought.length - failed.length,
    'models.failed': failed.length,
  })
  const summary = `${brought.length} models downloaded, ${works.length - brought.length - failed.length} unchanged, ${failed.length} failed`
  note(context, summary)
  context.host.notify.status(summary)
  const errors = failed.flatMap(({ error }) => error ?? [])
  // A start that lacks one model for good need not be tried again for another.
  const passing = which === 'after' ? errors.find(({ code }) => definitionOf(code).transient === true) : undefined
  const first = passing ?? errors[0]
  if (first === undefined) return
  const text = errors.map(({ message }) => message).join('; ')
  throw new MachineError(first.code, text, { cause: first, type: first.type, hint: first.hint })
}
