import { MachineError } from '../errors.ts'
import { systemClock } from '../host/clock.ts'
import { systemFiles } from '../host/files.ts'
import type { Terminal } from '../host/ports.ts'
import { connectManager } from '../host/systemd-manager.ts'
import { placesOf, pointerTo } from '../plan/places.ts'
import type { RolloutRecord } from '../plan/pointers.ts'
import { pin, renderRollout, unpin } from '../plan/rollout-record.ts'
import type { RolloutRequest } from '../rollout/plan-rollout.ts'
import {
  REQUEST_FILE,
  readPointers,
  readRecord,
  readWholeGenerations,
  UPDATE_DIRECTORY,
} from '../rollout/read-pointers.ts'
import { followRollout, openProgressLine } from './follow-rollout.ts'
import { judgeMachine, readMachineNow, requireRoot } from './machine-now.ts'
import { type ChangeOptions, type Outcome, tellOutcome } from './tell-outcome.ts'

/** What `comfy-machine rollback` may be told. */
export interface RollbackOptions extends ChangeOptions {
  /** Id of a generation or its first characters; without one, the one before. */
  readonly generation?: string
}

/**
 * `comfy-machine rollback`: moves the machine to a generation that is there, and holds it there until it wants another one
 * than now. One that is stopped goes there with its next start. Throws CM1911 for one that is not there, CM1910 for one that
 * was sent back.
 */
export async function rollbackCommand(options: RollbackOptions, terminal: Terminal): Promise<number> {
  return tellOutcome(options, terminal, async () => {
    requireRoot('rollback')
    const { workspace, sighting } = await readMachineNow()
    const standing = judgeMachine(sighting)
    const { current } = await readPointers(systemFiles, workspace, [])
    const record = await readRecord(systemFiles, workspace)
    const whole = await readWholeGenerations(systemFiles, placesOf(workspace))
    const generation = chooseGeneration(whole, record, options.generation)
    if (standing === 'stopped') return plan(workspace, record, generation, current)
    if (generation === current) return { outcome: 'same', generation }
    await refuseDuringUpdate()
    const request: RolloutRequest = { schema: 1, kind: 'rollback', generation, atUs: systemClock.nowUs() }
    await systemFiles.makeDirectory(UPDATE_DIRECTORY, 0o755)
    await systemFiles.writeText(REQUEST_FILE, `${JSON.stringify(request)}\n`)
    await systemFiles.link(pointerTo(generation), placesOf(workspace).next)
    if (!options.wait) return { outcome: 'begun', generation }
    const progress = openProgressLine(terminal, options.json)
    await followRollout(workspace, generation, progress)
    progress.end()
    return { outcome: 'rolled-back', generation }
  })
}

/** The generation that was meant. Throws CM1911 when there is none or more than one, CM1910 when it was sent back. */
export function chooseGeneration(
  whole: readonly string[],
  { previous, rejected }: RolloutRecord,
  named: string | undefined,
): string {
  if (named === undefined && previous === null)
    throw new MachineError('CM1911', 'the machine was on no other generation before')
  const wanted = named ?? previous ?? ''
  const fits = whole.includes(wanted) ? [wanted] : whole.filter((id) => named !== undefined && id.startsWith(wanted))
  const [generation, ...others] = fits
  if (generation === undefined) throw new MachineError('CM1911', `generation ${wanted} is not there`)
  if (others.length > 0) throw new MachineError('CM1911', `${wanted} is the begin of ${fits.join(', ')}`)
  const why = rejected[generation]
  if (why === undefined) return generation
  throw new MachineError('CM1910', `generation ${generation} was sent back: ${why.unit} ${why.code}: ${why.message}`, {
    hint: 'Only comfy-machine update tries it again.',
  })
}

// What is being built is found by the pointer that a rollback takes.
async function refuseDuringUpdate(): Promise<void> {
  const manager = await connectManager()
  try {
    const [unit] = await manager.snapshots(['comfy-update.service'])
    if (unit?.activeState === 'activating') throw new MachineError('CM1912', 'an update is going on')
  } finally {
    await manager.close()
  }
}

// No controller runs that would write the record.
async function plan(
  workspace: string,
  record: RolloutRecord,
  generation: string,
  current: string | undefined,
): Promise<Outcome> {
  if (current === undefined) throw new MachineError('CM1911', 'the machine has no generation to go back from')
  const pinned = generation === current ? record : pin(record, generation, current)
  // Back to what the machine wants nothing is held.
  const planned = pinned.pinned?.generation === generation ? pinned : unpin(record)
  const { rollout } = placesOf(workspace)
  await systemFiles.writeText(rollout, renderRollout(planned), { durable: true })
  return { outcome: 'planned', generation }
}
