import path from 'node:path'
import { MachineError } from '../errors.ts'
import { systemFiles } from '../host/files.ts'
import type { Files, Terminal } from '../host/ports.ts'
import { isGenerationId } from '../install/generation.ts'
import type { MachineLock } from '../install/machine-lock.ts'
import { withHashes } from '../install/model-hashes.ts'
import { parseIndex } from '../models/model-index.ts'
import { COMPLETE_FILE, LOCK_FILE, MODEL_INDEX, placesOf } from '../plan/places.ts'
import { readMachineNow } from './machine-now.ts'

/** What `comfy-machine lock` may be told. */
export interface LockOptions {
  /** Id of a generation; by default the one that the machine is on. */
  readonly generation?: string
  /** File to write instead of standard output. */
  readonly out?: string
}

/** `comfy-machine lock`: the lock of a generation, for MACHINE_LOCK on other hosts. Throws CM1911 when it is not there. */
export async function lockCommand(options: LockOptions, terminal: Terminal): Promise<number> {
  const { workspace } = await readMachineNow()
  return writeLock(options, { files: systemFiles, terminal, workspace })
}

/** The lock over given ports. */
export async function writeLock(
  { generation, out }: LockOptions,
  { files, terminal, workspace }: { readonly files: Files; readonly terminal: Terminal; readonly workspace: string },
): Promise<number> {
  const { current, generations } = placesOf(workspace)
  const id = generation ?? (await files.readLink(current))?.split('/').at(-1)
  if (id === undefined) throw new MachineError('CM1911', `${current} names no generation`)
  const directory = path.join(generations, id)
  // The id comes from the command line.
  const isThere = isGenerationId(id) && (await files.stat(path.join(directory, COMPLETE_FILE))) !== undefined
  const text = isThere ? await files.readText(path.join(directory, LOCK_FILE)) : undefined
  if (text === undefined) throw new MachineError('CM1911', `there is no generation ${id}`)
  const lock = JSON.parse(text) as MachineLock
  const verified = parseIndex(await files.readText(path.join(workspace, MODEL_INDEX)))
  const whole = `${JSON.stringify({ ...lock, models: withHashes(lock.models, verified) }, null, 2)}\n`
  if (out === undefined) terminal.write(whole)
  else await files.writeText(path.resolve(out), whole)
  return 0
}
