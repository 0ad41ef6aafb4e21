import type { LaterModelsState, MachineState, StepState } from '../observe/state.ts'
import type { Attributes } from '../report.ts'
import { MODELS_STEP } from '../steps.ts'
import { type Family, gauge, known } from './families.ts'

const LATER_STATES: readonly LaterModelsState['state'][] = ['running', 'waiting', 'done', 'failed', 'stopped']

/** How far step 18 and the loading after the start are with the models, and what they brought; nothing before there is anything to tell. */
export function modelFamilies(state: MachineState): readonly Family[] {
  const step = state.steps.find(({ number }) => number === MODELS_STEP)
  return [...(step === undefined ? [] : stepFamilies(step)), ...laterFamilies(state.laterModels)]
}

function stepFamilies(step: StepState): readonly Family[] {
  const { progress } = step
  const said = (name: string): number | undefined => numberOf(step.attributes, name)
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

/** The same of the models that are loaded after the start; nothing where there are none. */
function laterFamilies(loading: LaterModelsState | undefined): readonly Family[] {
  if (loading === undefined) return []
  const { progress, attributes, state } = loading
  const said = (name: string): number | undefined => numberOf(attributes, name)
  return [
    gauge(
      'comfy_machine_later_models_state',
      'How the loading of models after the start stands: 1 for the state it is in.',
      LATER_STATES.map((name) => ({ labels: { state: name }, value: Number(name === state) })),
    ),
    gauge(
      'comfy_machine_later_models_wanted',
      'Models that are loaded after the start.',
      known(progress?.total ?? said('wanted')),
    ),
    gauge(
      'comfy_machine_later_models_installed',
      'Models for after the start that are downloaded, or were found as they are to be.',
      known(progress?.done ?? sum(said('downloaded'), said('unchanged'))),
    ),
    gauge(
      'comfy_machine_later_models_processed_bytes',
      'Bytes of models that were loaded after the start so far; absent while none are loaded.',
      known(progress?.bytes),
    ),
    gauge(
      'comfy_machine_later_models_size_bytes',
      'Bytes of all models that are loaded after the start; absent while none are loaded.',
      known(progress?.totalBytes),
    ),
    gauge(
      'comfy_machine_later_models_bytes_per_second',
      'How fast the bytes of models for after the start come now; absent while none are loaded.',
      known(progress?.bytesPerSecond),
    ),
  ]
}

function numberOf(attributes: Attributes, name: string): number | undefined {
  const value = attributes[`models.${name}`]
  return typeof value === 'number' ? value : undefined
}

function sum(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a + b
}
