import { readHostAttributes } from '../host/host-attributes.ts'
import { readIdentity } from '../host/identity.ts'
import type { Files } from '../host/ports.ts'
import type { Attributes } from '../report.ts'

/** The resource of whatever a unit's process tells OpenTelemetry; the controller's own is the same. */
export async function readResource(files: Files, version: string): Promise<Attributes> {
  const { machineId } = await readIdentity(files)
  return {
    'service.name': 'comfy-machine',
    'service.version': version,
    ...(await readHostAttributes(files, machineId)),
  }
}
