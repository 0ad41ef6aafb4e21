import { clearUnits } from './apply/clear-units.ts'
import type { Recorder } from './emit/recorder.ts'
import { messageOf } from './errors.ts'
import type { Manager } from './host/ports.ts'
import type { MachineHost } from './machine-host.ts'
import { enterPhase } from './observe/fold-step.ts'
import type { Machine } from './observe/machine.ts'

/** How the controller tends a machine that has been ready: it is ready while every wanted unit is active, else degraded. */
export async function tendMachine(host: MachineHost, recorder: Recorder): Promise<void> {
  const judge = (): void => {
    const phase = isWhole(recorder.machine) ? 'ready' : 'degraded'
    if (recorder.machine.state.phase === phase) return
    recorder.fold((machine) => enterPhase(machine, phase, host.clock.nowUs()))
    void host.tellHub('event_driven')
  }
  const stopWatching = recorder.onChange(judge)
  // What changed before anybody watched counts too.
  judge()
  await new Promise<void>((resolve) => {
    if (host.signal.aborted) resolve()
    else host.signal.addEventListener('abort', () => resolve(), { once: true })
  })
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

function isWhole({ outcomes, snapshots, state }: Machine): boolean {
  return (
    state.failing.length === 0 &&
    [...outcomes].every(([unit, outcome]) => outcome === 'skipped' || snapshots.get(unit)?.activeState === 'active')
  )
}
