import path from 'node:path'
import type { Files } from '../host/ports.ts'

/**
 * Files here say that an outbox has something new. comfy-telemetry.path starts the delivery while there is one, so that a
 * delivery which ends just when something is written is started again, whoever wrote it, and whether the controller lives.
 */
const PENDING = 'pending'

/** The directory of marks within a telemetry directory. */
export function pendingDirectory(telemetry: string): string {
  return path.join(telemetry, PENDING)
}

/** Says that an outbox has something new; nothing is said where nobody delivers. */
export async function markPending(files: Files, outbox: string): Promise<void> {
  const directory = pendingDirectory(path.dirname(outbox))
  if ((await files.stat(directory)) === undefined) return
  await files.appendText(path.join(directory, path.basename(outbox)), '')
}

/** Takes all marks away; what is written from now on is marked anew. Tells whether there were any. */
export async function takePending(files: Files, telemetry: string): Promise<boolean> {
  const directory = pendingDirectory(telemetry)
  const names = await files.list(directory)
  await Promise.all(names.map((name) => files.remove(path.join(directory, name))))
  return names.length > 0
}
