import type { MachineState, StepState } from '../observe/state.ts'
import { type Family, gauge, known } from './families.ts'

const MODELS_STEP = 18

/** How far step 18 is with the models while it runs, and what it brought after; nothing before there is anything to tell. */
export function modelFamilies(state: MachineState): readonly Family[] {
  const step = state.steps.find(({ number }) => number === MODELS_STEP)
  if (step === undefined) return []
  const { progress } = step
  const said = (name: string): number | undefined => numberOf(step, name)
  return [
    gauge('comfy_machine_models_wanted', 'Models that the machine needs.', known(progress?.total ?? said('wanted'))),
    gauge(
      'comfy_machine_models_installed',
      'Models that the current startup has downloaded, or found as they are to be.',
      known(progress?.done ?? sum(said('downloaded'), said('unchanged'))),
    ),
    gauge(
      'comfy_machine_models_processed_bytes',
      'Bytes of models that step 18 has downloaded or verified so far; absent when it does not run.',
      known(progress?.bytes),
    ),
    gauge(
      'comfy_machine_models_size_bytes',
      'Bytes of all models that step 18 downloads or verifies; absent when it does not run.',
      known(progress?.totalBytes),
    ),
    gauge(
      'comfy_machine_models_bytes_per_second',
      'How fast the bytes of models come now; absent when step 18 does not run.',
      known(progress?.bytesPerSecond),
    ),
    gauge(
      'comfy_machine_models_downloaded_bytes',
      'Bytes of models that the current startup has downloaded; absent before step 18 ends.',
      known(said('downloaded_bytes')),
    ),
  ]
}

function numberOf(step: StepState, name: string): number | undefined {
  const value = step.attributes[`models.${name}`]
  return typeof value === 'number' ? value : undefined
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b
}
