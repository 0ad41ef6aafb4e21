import type { MachineState, StepState } from '../observe/state.ts'
import { counter, type Family, gauge, known } from './families.ts'

const MODELS_STEP = 18
/** What step 18 says of itself when it is done. */
const DOWNLOADED = 'models.downloaded_bytes'

interface Progress {
  readonly done?: number
  readonly total?: number
  readonly bytes?: number
  readonly totalBytes?: number
  readonly bytesPerSecond?: number
}

/** How far the download of models is, or how much it brought; nothing before there is anything to tell. */
export function modelFamilies(state: MachineState): readonly Family[] {
  const step = state.steps.find(({ number }) => number === MODELS_STEP)
  if (step === undefined) return []
  const { done, total, bytes, totalBytes, bytesPerSecond } = progressOf(step)
  const downloaded = step.attributes[DOWNLOADED] ?? bytes
  const isRunning = step.state === 'running'
  return [
    counter(
      'comfy_machine_model_downloaded_bytes_total',
      'Bytes of models that the current startup has downloaded.',
      known(typeof downloaded === 'number' ? downloaded : undefined).map((sample) => ({
        ...sample,
        sinceUs: state.startedUs,
      })),
    ),
    gauge('comfy_machine_model_download_size_bytes', 'Bytes that the current startup downloads.', known(totalBytes)),
    gauge('comfy_machine_models_installed', 'Models that step 18 is done with.', known(done)),
    gauge('comfy_machine_models_wanted', 'Models that step 18 is to install.', known(total)),
    gauge(
      'comfy_machine_model_download_bytes_per_second',
      'How fast models come now; 0 when none does.',
      known(bytesPerSecond === undefined ? undefined : isRunning ? bytesPerSecond : 0),
    ),
  ]
}

function progressOf(step: StepState): Progress {
  const { progress } = step as StepState & { readonly progress?: unknown }
  if (typeof progress !== 'object' || progress === null) return {}
  const numbers = Object.entries(progress).filter(([, value]) => typeof value === 'number' && Number.isFinite(value))
  return Object.fromEntries(numbers)
}
