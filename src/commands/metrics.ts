import { messageOf } from '../errors.ts'
import { readMeasures } from '../health/measures.ts'
import { collectFamilies } from '../health/metrics.ts'
import { openRecord } from '../health/record.ts'
import { systemClock } from '../host/clock.ts'
import { systemFiles as files } from '../host/files.ts'
import { openJournal } from '../host/journal.ts'
import { openSecrets } from '../host/secrets.ts'
import type { MachinePlan } from '../plan/plan.ts'
import { readPlan } from './read-plan.ts'
import { readResource } from './read-resource.ts'

const EXIT_TRY_AGAIN = 75

/**
 * `comfy-machine metrics`, run by comfy-metrics.timer: pushes what `/metrics` shows to the collector of the standard OTEL_*
 * variables, once. Exit code 75 when the collector did not take it; the next push tells the same and more.
 */
export async function metricsCommand(): Promise<number> {
  const journal = openJournal()
  const plan = await readPlan(files, process.env)
  const sighting = await openRecord(files, systemClock).look()
  const measures = await readMeasures(files, sighting.state)
  const families = collectFamilies(sighting, systemClock.nowUs(), measures)
  const resource = { ...(await readResource(files, plan.version)), 'service.instance.id': plan.machineId }
  const { exportMetrics } = await import('../host/metrics-exporter.ts')
  try {
    await exportMetrics(families, resource, otelSettings(plan))
    return 0
  } catch (error) {
    journal.write({ message: `the metrics could not be pushed: ${messageOf(error)}`, priority: 'warning' })
    return EXIT_TRY_AGAIN
  }
}

/** Public settings stand in the plan; those kept as secrets come as this unit's credentials. */
function otelSettings(plan: MachinePlan): Readonly<Record<string, string>> {
  const secrets = openSecrets()
  const hidden = plan.secretNames.flatMap((name) => {
    const value = secrets.read(name)
    return value === undefined ? [] : [[name, value] as const]
  })
  const all = [...Object.entries(plan.environment), ...hidden]
  return Object.fromEntries(all.filter(([name, value]) => name.startsWith('OTEL_') && value !== ''))
}
