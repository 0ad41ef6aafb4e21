import type { Files, Manager } from '../host/ports.ts'
import { execute } from './actions.ts'
import { diffLeftovers, STARTED_UNITS } from './diff.ts'
import { hostExecutors } from './executors.ts'

/** Stops every unit that a start of the machine began, waits until they are down and forgets their failures. The health server stays. */
export async function clearUnits(files: Files, manager: Manager): Promise<void> {
  const executors = hostExecutors(files, manager)
  await Promise.all(diffLeftovers(await manager.list(STARTED_UNITS)).map((action) => execute(executors, action)))
}
