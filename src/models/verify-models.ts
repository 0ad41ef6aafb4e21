import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import type { StoreFiles } from '../host/model-ports.ts'
import { mapLimited } from '../install/context.ts'
import { codeOf } from '../install/network-failure.ts'
import type { ModelRow } from './list-models.ts'
import type { Meter } from './model-meter.ts'
import { type Check, type Damage, wantedBy } from './verify-plan.ts'

const AT_ONCE = 4

/** What a verification reads with. */
export interface VerifyPorts {
  readonly store: Pick<StoreFiles, 'hash'>
  readonly meter: Meter
  /** Aborts when the work is to end. */
  readonly signal: AbortSignal
}

/** Reads files again and compares them with their hashes; resolves to those that differ. One that is gone meanwhile is no damage. */
export async function verifyFiles(
  { store, meter, signal }: VerifyPorts,
  models: string,
  checks: readonly Check[],
  rows: readonly ModelRow[],
): Promise<readonly Damage[]> {
  meter.expect(checks.reduce((sum, { bytes }) => sum + bytes, 0))
  const found = await mapLimited(checks, AT_ONCE, async (check): Promise<Damage | undefined> => {
    signal.throwIfAborted()
    const path = check.paths.at(-1) ?? ''
    const file = meter.begin(path, check.bytes)
    const damage = { ...check, wanted_by: wantedBy(rows, check) }
    try {
      const sha256 = await store.hash(join(models, check.paths[0] ?? path), file.add)
      return sha256 === check.expected ? undefined : { ...damage, found: sha256 }
    } catch (error) {
      signal.throwIfAborted()
      if (codeOf(error) === 'ENOENT') return undefined
      return { ...damage, found: null, reason: messageOf(error) }
    } finally {
      file.finish()
      meter.count(1)
    }
  })
  return found.filter((damage) => damage !== undefined)
}
