import { STEPS, type Step } from '../steps.ts'

/** A step that shows in a unit, with the GPU the unit serves, if it serves one. */
export interface UnitStep {
  readonly step: Step
  readonly gpu: string | undefined
}

/** The GPU name of an instance unit: `gpu0` of `comfyui@gpu0.service`. */
export function gpuOfUnit(unit: string): string | undefined {
  return /@(gpu[0-9]+)\.service$/.exec(unit)?.[1]
}

/** Every step that is seen in a unit's state, its start job or its report, by `steps.ts`. */
export function stepsOfUnit(unit: string, kind: 'unit' | 'job' | 'report'): readonly UnitStep[] {
  const gpu = gpuOfUnit(unit)
  const pattern = gpu === undefined ? unit : unit.replace(`@${gpu}.`, '@gpuN.')
  const isShown = ({ owner }: Step): boolean => owner.kind === kind && owner.unit === pattern
  return STEPS.filter(isShown).map((step) => ({ step, gpu }))
}
