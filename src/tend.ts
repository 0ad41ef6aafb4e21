import { clearUnits } from './apply/clear-units.ts'
import type { Recorder } from './emit/recorder.ts'
import { messageOf } from './errors.ts'
import type { Manager } from './host/ports.ts'
import { tendLaterModels } from './later-models.ts'
import type { MachineHost } from './machine-host.ts'
import { enterPhase } from './observe/fold-step.ts'
import { isMoving, type Machine } from './observe/machine.ts'
import { gpuOfUnit } from './observe/unit-steps.ts'
import { look, type RolloutContext } from './rollout/look.ts'
import { tendRollouts } from './rollout/roll-out.ts'

/**
 * How the controller tends a machine that has been ready: it is ready while every wanted unit is active, else degraded,
 * moves to another generation when it is asked to, and has the models loaded that may come after the start. A GPU on its way
 * to another generation is not missed while another one serves.
 */
export async function tendMachine(context: RolloutContext, host: MachineHost): Promise<void> {
  const { recorder } = context
  const judge = (): void => {
    const phase = isWhole(recorder.machine) ? 'ready' : 'degraded'
    if (recorder.machine.state.phase === phase) return
    recorder.fold((machine) => enterPhase(machine, phase, host.clock.nowUs()))
    void host.tellHub('event_driven')
  }
  // A GPU that was on its way when an earlier controller died still is.
  await look(context).catch((error: unknown) =>
    recorder.warn(`the pointers to generations could not be read: ${messageOf(error)}`),
  )
  const stopWatching = recorder.onChange(judge)
  // What changed before anybody watched counts too.
  judge()
  const stopLoading = tendLaterModels(context)
  await tendRollouts(context)
  stopLoading()
  stopWatching()
}

/** Marks the machine as stopped, says so to whoever listens and stops its units; the health server stays and says so too. */
export async function endMachine(host: MachineHost, recorder: Recorder, manager: Manager): Promise<void> {
  host.notify.stopping()
  recorder.fold((machine) => enterPhase(machine, 'stopped', host.clock.nowUs()))
  await host.tellHub('shutdown')
  await recorder.flush()
  // While the host shuts down systemd stops the units itself and may refuse or leave the bus.
  await clearUnits(host.files, manager).catch((error: unknown) =>
    recorder.warn(`not every unit could be stopped: ${messageOf(error)}`),
  )
  await recorder.flush()
}

/** Tells whether a machine serves as it is meant to: a GPU that a rollout moves is not missed while another one serves. */
export function isWhole(machine: Machine): boolean {
  const { outcomes, state } = machine
  const isCounted = (unit: string): boolean => !isMoving(machine, gpuOfUnit(unit))
  const counted = [...outcomes.keys()].filter(isCounted)
  const isServed = counted.some((unit) => gpuOfUnit(unit) !== undefined && isActive(machine, unit))
  const units = isServed ? counted : [...outcomes.keys()]
  const failing = state.failing.filter(({ unit }) => !isServed || isCounted(unit))
  return failing.length === 0 && units.every((unit) => outcomes.get(unit) === 'skipped' || isActive(machine, unit))
}

function isActive({ snapshots }: Machine, unit: string): boolean {
  return snapshots.get(unit)?.activeState === 'active'
}
