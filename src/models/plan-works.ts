import { join } from 'node:path'
import { MachineError } from '../errors.ts'
import type { WantedModel } from '../install/components.ts'
import type { InstallContext } from '../install/context.ts'
import { storeOf } from '../plan/places.ts'
import { openLook } from './look.ts'
import { type FileState, planModel, readPins, type VerifiedFile } from './model-plan.ts'
import { sourcesOf } from './model-sources.ts'
import type { ModelWork } from './model-work.ts'

/** A model's files as they are, and what of it is wanted. */
export interface LookedAt extends Pick<ModelWork, 'model' | 'wanted' | 'isPinned' | 'file' | 'known' | 'oldParts'> {
  readonly blob: FileState | undefined
}

/** What an earlier version left beside a model that it had not downloaded whole. */
const OLD_PARTS = ['.part', '.part.json']

type Accepts = (model: WantedModel) => boolean

/** Looks at every wanted model. The pin of a model that `accepts` says true for does not count. */
async function lookAtModels(
  { plan, host }: Pick<InstallContext, 'plan' | 'host'>,
  index: ReadonlyMap<string, VerifiedFile>,
  models: readonly WantedModel[],
  accepts: Accepts = () => false,
): Promise<readonly LookedAt[]> {
  const pinOf = readPins(index, host.digest)
  const { blobs } = storeOf(plan.paths.models)
  const look = openLook(host.files)
  return Promise.all(
    models.map(async (model): Promise<LookedAt> => {
      const path = model.path ?? model.name
      const pin = model.sha256 === null && !accepts(model) ? pinOf(model) : undefined
      const wanted = { bytes: model.bytes ?? pin?.bytes ?? null, sha256: model.sha256 ?? pin?.sha256 ?? null }
      const destination = join(plan.paths.models, path)
      const file = await look.stat(destination)
      const known = index.get(path)
      const isKept = planModel(wanted, { file, known, blob: undefined }) === 'keep'
      const blob = isKept || wanted.sha256 === null ? undefined : await look.stat(join(blobs, wanted.sha256))
      const parts = isKept ? [] : OLD_PARTS.map((ending) => `${destination}${ending}`)
      const areThere = await Promise.all(parts.map(look.has))
      const oldParts = parts.filter((_, index) => areThere[index])
      return { model, wanted, isPinned: pin !== undefined, file, known, blob, oldParts }
    }),
  )
}

/** What is to be done for every wanted model. */
export async function planWorks(
  context: InstallContext,
  index: ReadonlyMap<string, VerifiedFile>,
  models: readonly WantedModel[],
  accepts: Accepts = () => false,
): Promise<readonly ModelWork[]> {
  const startUs = context.host.clock.nowUs()
  const looked = await lookAtModels(context, index, models, accepts)
  return looked.map((each) => toWork(context, each, startUs, accepts(each.model)))
}

function toWork({ plan, host }: InstallContext, looked: LookedAt, startUs: number, isAccepted: boolean): ModelWork {
  const { blob, ...rest } = looked
  const { model, wanted, file, known } = rest
  const isAnew = isAccepted && model.sha256 === null && model.url !== null
  const action = model.path === null ? 'verify' : isAnew ? 'download' : planModel(wanted, { file, known, blob })
  const hasSource = sourcesOf({ ...model, ...wanted }, plan, host.secrets).length > 0
  return {
    ...rest,
    destination: model.path === null ? '' : join(plan.paths.models, model.path),
    action,
    startUs,
    state: action === 'keep' ? 'skipped' : 'done',
    bytes: file?.bytes ?? 0,
    resumed: 0,
    sha256: action === 'keep' ? (known?.sha256 ?? null) : null,
    host: null,
    placement: undefined,
    tries: 1,
    attempts: [],
    error: missing(model, action === 'download' && !hasSource),
    isReported: false,
  }
}

function missing({ name, path, url }: WantedModel, hasNoSource: boolean): MachineError | undefined {
  if (path === null)
    return url === null ? undefined : new MachineError('CM1807', `model ${name} has a URL and no saveTo`)
  return hasNoSource ? new MachineError('CM1807', `model ${path} has no URL and is not there`) : undefined
}
