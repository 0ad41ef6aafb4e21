import { collectSettings } from '../config/collect.ts'
import { wantsTraces } from '../config/telemetry.ts'
import { deliverAll } from '../emit/delivery.ts'
import { takePending } from '../emit/pending.ts'
import { messageOf } from '../errors.ts'
import { systemClock } from '../host/clock.ts'
import { readConfigSources } from '../host/config-files.ts'
import { systemFiles as files } from '../host/files.ts'
import { openJournal } from '../host/journal.ts'
import type { Journal } from '../host/ports.ts'
import { openSecrets } from '../host/secrets.ts'
import { stopSignal } from '../host/signals.ts'
import { type MachinePlan, PLAN_FILE, TELEMETRY_DIRECTORY } from '../plan/plan.ts'

const EXIT_TRY_AGAIN = 75
/** How long the delivery waits for more before it ends: jobs come in rows, and each start of it costs as much as 10,000 spans. */
const LINGER_MS = 30_000
const LOOK_MS = 1_000

/**
 * `comfy-machine telemetry`, run by comfy-telemetry.service: delivers what the outboxes hold to the collector of
 * OTEL_EXPORTER_OTLP_ENDPOINT, waits half a minute for more and ends. Nothing is lost when that fails: a cursor moves only
 * after an answer, and systemd tries again (exit 75). Without an endpoint there is nothing to do.
 */
export async function telemetryCommand(): Promise<number> {
  const journal = openJournal()
  const stop = stopSignal()
  const settings = await readTelemetrySettings()
  if (!wantsTraces(settings)) {
    await takePending(files, TELEMETRY_DIRECTORY)
    return 0
  }
  const { openExporter } = await import('../host/trace-exporter.ts')
  const exporter = openExporter(settings)
  const host = { files, clock: systemClock, telemetry: TELEMETRY_DIRECTORY, send: exporter.send, signal: stop }
  try {
    await deliverWhileThereIsMore(host, journal)
    return 0
  } catch (error) {
    journal.write({ message: `the trace could not be delivered yet: ${messageOf(error)}`, priority: 'warning' })
    return EXIT_TRY_AGAIN
  } finally {
    await exporter.close()
  }
}

async function deliverWhileThereIsMore(host: Parameters<typeof deliverAll>[0], journal: Journal): Promise<void> {
  let idleSinceMs = performance.now()
  for (let isFirst = true; !host.signal.aborted; isFirst = false) {
    // Marks are taken before the outboxes are read: what is written later is marked again.
    if ((await takePending(files, host.telemetry)) || isFirst) {
      const spans = await deliverAll(host)
      if (spans > 0) journal.write({ message: `${spans} spans delivered`, priority: 'info' })
      idleSinceMs = performance.now()
    } else if (performance.now() - idleSinceMs >= LINGER_MS) return
    await host.clock.sleep(LOOK_MS, host.signal)
  }
}

// Public settings stand in machine.env; those kept as secrets come as this unit's credentials.
async function readTelemetrySettings(): Promise<Readonly<Record<string, string>>> {
  const { sources } = await readConfigSources(files)
  const { settings } = collectSettings(sources)
  const plan = await files.readText(PLAN_FILE)
  const names = plan === undefined ? [] : (JSON.parse(plan) as MachinePlan).secretNames
  const secrets = openSecrets()
  const all = new Map([...settings].map(([name, { value }]) => [name, value]))
  for (const name of names) {
    const value = secrets.read(name)
    if (value !== undefined) all.set(name, value)
  }
  return Object.fromEntries([...all].filter(([name, value]) => name.startsWith('OTEL_') && value !== ''))
}
