import type { UnitSnapshot } from '../host/ports.ts'
import type { Machine } from '../observe/machine.ts'
import type { FailingState } from '../observe/state.ts'
import type { MachinePlan } from '../plan/plan.ts'
import type { RejectedGeneration } from '../plan/pointers.ts'
import type { GpuStanding, RolloutGpu } from './plan-rollout.ts'

// Evidence that is missing at the first start is missing at the fourth as well.
const EVIDENCE = /^CM190[2-5]$/

/** The units of a GPU: its ComfyUI, and the workers that take jobs for it. */
export function unitsOfGpu(
  plan: MachinePlan,
  gpu: string,
): { readonly comfyui: string | undefined; readonly workers: readonly string[] } {
  return {
    comfyui: plan.instances.find((each) => each.gpu === gpu)?.unit,
    workers: plan.workers.filter((each) => each.gpu === gpu).map(({ unit }) => unit),
  }
}

/** How the units of a GPU stand, as far as they were followed. `sinceUs` is when a rollout last started its ComfyUI. */
export function standOf(
  machine: Machine,
  plan: MachinePlan,
  gpu: string,
  sinceUs: number | null,
): Pick<RolloutGpu, 'standing' | 'failure'> {
  const { comfyui, workers } = unitsOfGpu(plan, gpu)
  const unit = comfyui === undefined ? undefined : machine.snapshots.get(comfyui)
  if (unit === undefined || comfyui === undefined) return { standing: 'down' }
  const failing = machine.state.failing.find((each) => each.unit === comfyui)
  const lacksEvidence =
    failing !== undefined && sinceUs !== null && failing.atUs >= sinceUs && EVIDENCE.test(failing.code)
  if (isFailed(unit) || (lacksEvidence && unit.activeState !== 'active'))
    return { standing: 'failed', failure: rejectionOf(failing, unit, gpu) }
  return {
    standing: standingOf(
      unit,
      workers.map((name) => machine.snapshots.get(name)),
    ),
  }
}

function standingOf(comfyui: UnitSnapshot, workers: readonly (UnitSnapshot | undefined)[]): GpuStanding {
  const known = workers.filter((unit) => unit !== undefined)
  const isIdle = known.every((unit) => isDown(unit) || isFailed(unit))
  if (isDown(comfyui) && isIdle) return 'down'
  if (comfyui.activeState !== 'active') return 'changing'
  if (known.every(({ activeState }) => activeState === 'active')) return 'up'
  if (known.some(isFailed)) return 'held'
  return isIdle ? 'idle' : 'changing'
}

const isFailed = ({ activeState, subState, jobId }: UnitSnapshot): boolean =>
  activeState === 'failed' && jobId === 0 && !subState.includes('auto-restart')

const isDown = ({ activeState, jobId }: UnitSnapshot): boolean => activeState === 'inactive' && jobId === 0

function rejectionOf(failing: FailingState | undefined, unit: UnitSnapshot, gpu: string): RejectedGeneration {
  const { name } = unit
  if (failing !== undefined) {
    const { atUs, code, message, lines = [] } = failing
    return { atUs, gpu, unit: name, code, message, lines }
  }
  const atUs = unit.inactiveEnterUs || unit.execMainExitUs
  return { atUs, gpu, unit: name, code: 'CM1990', message: `${name} failed: ${unit.result}`, lines: [] }
}
