import path from 'node:path'
import { MachineError } from '../errors.ts'
import { systemClock } from '../host/clock.ts'
import { systemFiles } from '../host/files.ts'
import type { Manager, Terminal } from '../host/ports.ts'
import { connectManager } from '../host/systemd-manager.ts'
import { parseReport } from '../observe/parse-report.ts'
import { LOCK_FILE } from '../plan/places.ts'
import { RUN_DIRECTORY } from '../plan/plan.ts'
import { REPORT_FILE, type ReportLine } from '../report.ts'
import type { RolloutRequest } from '../rollout/plan-rollout.ts'
import { REQUEST_FILE, readPointers, UPDATE_DIRECTORY } from '../rollout/read-pointers.ts'
import { followRollout, openProgressLine, type ProgressLine } from './follow-rollout.ts'
import { judgeMachine, readMachineNow, requireRoot } from './machine-now.ts'
import { changesOf, makePlan } from './make-plan.ts'
import { type ChangeOptions, tellOutcome } from './tell-outcome.ts'

const UNIT = 'comfy-update.service'
const REPORT = path.join(RUN_DIRECTORY, 'comfy-update', REPORT_FILE)

/** What `comfy-machine update` may be told. */
export interface UpdateOptions extends ChangeOptions {
  /** A machine.lock.json to install exactly. */
  readonly locked?: string
}

/**
 * `comfy-machine update`: builds the generation that the configuration asks for now, beside the running one, and follows it
 * to every GPU. Resolves to 0 when the machine is on it, or was already, and without waiting when it has begun; throws what
 * the build failed with, CM1910 when the generation was sent back, CM1912 when the machine does not run.
 */
export async function updateCommand(options: UpdateOptions, terminal: Terminal): Promise<number> {
  return tellOutcome(options, terminal, async () => {
    requireRoot('update')
    const { workspace, sighting } = await readMachineNow()
    if (judgeMachine(sighting) === 'stopped')
      throw new MachineError('CM1912', 'the machine is not running', {
        hint: 'Start it with systemctl start comfy-machine: a start installs what the configuration asks for.',
      })
    const manager = await connectManager()
    try {
      return await update(manager, workspace, options, terminal)
    } finally {
      await manager.close()
    }
  })
}

async function update(manager: Manager, workspace: string, options: UpdateOptions, terminal: Terminal) {
  const [unit] = await manager.snapshots([UNIT])
  if (unit?.loadState !== 'loaded')
    throw new MachineError('CM1912', `${UNIT} is ${unit?.loadState ?? 'unknown'}`, {
      hint: 'Restart the machine once with systemctl restart comfy-machine.',
    })
  if (unit.activeState === 'activating')
    throw new MachineError('CM1912', 'an update is going on', {
      hint: 'Wait until it has ended; comfy-machine status shows it.',
    })
  const progress = openProgressLine(terminal, options.json)
  for (const name of await writeWish(options.locked)) progress.show(`${name} would change too: restart to apply`)
  progress.end()
  await manager.resetFailed(UNIT)
  if (!options.wait) {
    await manager.start(UNIT)
    return { outcome: 'begun' as const, generation: null }
  }
  const generation = await build(manager, progress)
  const { current, next } = await readPointers(systemFiles, workspace, [])
  const wanted = generation ?? next
  if (wanted === undefined || (wanted === current && next === undefined))
    return { outcome: 'same' as const, generation: current ?? null }
  await followRollout(workspace, wanted, progress)
  progress.end()
  return { outcome: 'updated' as const, generation: wanted }
}

/** Writes what the configuration asks for; resolves to the names of units that only a restart would change. */
async function writeWish(locked: string | undefined): Promise<readonly string[]> {
  const { plan, units } = await makePlan([])
  await systemFiles.makeDirectory(UPDATE_DIRECTORY, 0o755)
  const lockFile = locked === undefined ? plan.components.lockFile : path.join(UPDATE_DIRECTORY, LOCK_FILE)
  if (locked !== undefined && lockFile !== null) {
    const text = await systemFiles.readText(locked)
    if (text === undefined)
      throw new MachineError('CM0002', `there is no ${locked}`, { hint: 'Name a machine.lock.json.' })
    await systemFiles.writeText(lockFile, text)
  }
  const wish = { ...plan, components: { ...plan.components, lockFile } }
  await systemFiles.writeText(path.join(UPDATE_DIRECTORY, 'plan.json'), `${JSON.stringify(wish, null, 2)}\n`)
  const request: RolloutRequest = { schema: 1, kind: 'update', generation: null, atUs: systemClock.nowUs() }
  await systemFiles.writeText(REQUEST_FILE, `${JSON.stringify(request)}\n`)
  return (await changesOf(units)).map((change) => change.slice(2))
}

/** Runs the installer of the update; resolves to the id of the generation that it wants, where it says so. */
async function build(manager: Manager, progress: ProgressLine): Promise<string | undefined> {
  const stop = manager.follow((event) => {
    if (event.kind === 'unit' && event.unit.name === UNIT) progress.show(event.unit.statusText)
  })
  const result = await manager.startAndWait(UNIT).finally(stop)
  progress.end()
  const report = parseReport((await systemFiles.readForeign(REPORT)) ?? '')
  if (result === 'done') return generationOf(report)
  const failure = report.findLast((line) => line.kind === 'failure')
  const { code, message, type, hint } = failure ?? {
    code: 'CM1790' as const,
    message: `${UNIT} ended without a result: ${result}`,
  }
  throw new MachineError(code, message, {
    ...(type === undefined ? {} : { type }),
    ...(hint === undefined ? {} : { hint }),
  })
}

function generationOf(report: readonly ReportLine[]): string | undefined {
  const facts = report.filter((line) => line.kind === 'fact').map(({ attributes }) => attributes['comfyui.generation'])
  const known = facts.findLast((value) => typeof value === 'string')
  return typeof known === 'string' ? known : undefined
}
