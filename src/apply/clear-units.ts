import type { Files, Manager } from '../host/ports.ts'
import { execute } from './actions.ts'
import { diffLeftovers, STARTED_UNITS } from './diff.ts'
import { hostExecutors } from './executors.ts'

/** Stops every unit that a start of the machine began, waits until they are down and forgets their failures. The health server stays. */
export async function clearUnits(files: Files, manager: Manager): Promise<void> {
  const executors = hostExecutors(files, manager)
  const left = await manager.list(STARTED_UNITS)
  await Promise.all(diffLeftovers(left).map((action) => execute(executors, action)))
  // A unit may fail by being stopped, and a failure of an earlier start is none of the next one.
  await Promise.all(left.map(({ name }) => manager.resetFailed(name)))
}
