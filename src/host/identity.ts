import { createHmac } from 'node:crypto'
import type { Files } from './ports.ts'

/** Who this host is, without giving away its machine-id; null where the host does not say. */
export interface Identity {
  /** Application-specific machine id, 32 hex digits: the default of MACHINE_ID. */
  readonly machineId: string | null
  /** Boot id, 32 hex digits. */
  readonly bootId: string | null
}

/** The id that stands for comfy-machine in application-specific machine ids; never changes. */
const APPLICATION_ID = '831bfddb5a0e4a6a807fc5be5dfc32b6'

/** Reads /etc/machine-id and the boot id, machine-id(5). */
export async function readIdentity(files: Files): Promise<Identity> {
  const machineId = hexId(await files.readText('/etc/machine-id'))
  return {
    machineId: machineId === null ? null : applicationId(machineId, APPLICATION_ID),
    bootId: hexId(await files.readText('/proc/sys/kernel/random/boot_id')),
  }
}

/** The id of a machine for one application, as `systemd-id128 machine-id --app-specific=` computes it, sd_id128_get_machine_app_specific(3). */
export function applicationId(machineId: string, application: string): string {
  const id = createHmac('sha256', Buffer.from(machineId, 'hex'))
    .update(Buffer.from(application, 'hex'))
    .digest()
    .subarray(0, 16)
  id.writeUInt8((id.readUInt8(6) & 0x0f) | 0x40, 6)
  id.writeUInt8((id.readUInt8(8) & 0x3f) | 0x80, 8)
  return id.toString('hex')
}

function hexId(text: string | undefined): string | null {
  const id = text?.trim().replaceAll('-', '') ?? ''
  return /^[0-9a-f]{32}$/.test(id) && !/^0+$/.test(id) ? id : null
}
