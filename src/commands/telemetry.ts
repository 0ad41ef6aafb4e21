import path from 'node:path'
import { collectSettings } from '../config/collect.ts'
import { CURSOR_FILE, DELIVERED_FILE, OUTBOX_FILE, parseSpans } from '../emit/outbox.ts'
import { messageOf } from '../errors.ts'
import { PLAN_FILE, readWorkspace } from '../health/workspace.ts'
import { readConfigSources } from '../host/config-files.ts'
import { systemFiles as files } from '../host/files.ts'
import { openJournal } from '../host/journal.ts'
import type { SpanRecord } from '../host/ports.ts'
import { openSecrets } from '../host/secrets.ts'
import type { MachinePlan } from '../plan/plan.ts'

// After this much is delivered the record starts anew; the last startups stay in the delivered file.
const KEEP_BYTES = 4 * 2 ** 20
const PIECE_BYTES = 2 ** 20
const EXIT_TRY_AGAIN = 75

/**
 * `comfy-machine telemetry`, run by comfy-telemetry.service: delivers what the outbox holds to the collector of
 * OTEL_EXPORTER_OTLP_ENDPOINT and ends. Nothing is lost when that fails: the cursor moves only after an answer, and
 * systemd tries again (exit 75). Without an endpoint there is nothing to do.
 */
export async function telemetryCommand(): Promise<number> {
  const journal = openJournal()
  const settings = await readTelemetrySettings()
  if (
    settings['OTEL_EXPORTER_OTLP_ENDPOINT'] === undefined &&
    settings['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] === undefined
  )
    return 0
  const directory = path.join(await readWorkspace(files), 'telemetry')
  const { openExporter } = await import('../host/trace-exporter.ts')
  const exporter = openExporter(settings)
  try {
    for (;;) {
      const { bytes, spans } = await deliver(directory, exporter.send)
      if (bytes === 0) return 0
      journal.write({ message: `${spans} spans delivered`, priority: 'info' })
    }
  } catch (error) {
    journal.write({ message: `the trace could not be delivered yet: ${messageOf(error)}`, priority: 'warning' })
    return EXIT_TRY_AGAIN
  } finally {
    await exporter.close()
  }
}

type Send = (spans: readonly SpanRecord[]) => Promise<void>

interface Delivered {
  readonly bytes: number
  readonly spans: number
}

// One piece of the record a call: a collector refuses a request of more than 4 MiB.
async function deliver(directory: string, send: Send): Promise<Delivered> {
  const cursorFile = path.join(directory, CURSOR_FILE)
  const bytes = Buffer.from((await files.readText(path.join(directory, OUTBOX_FILE))) ?? '')
  const cursor = Number((await files.readText(cursorFile)) ?? 0)
  const from = cursor <= bytes.length ? cursor : 0
  const limit = bytes.lastIndexOf('\n', from + PIECE_BYTES) + 1
  // A single line may be longer than a piece.
  const end = limit > from ? limit : bytes.indexOf('\n', from) + 1
  if (end <= from) return { bytes: 0, spans: 0 }
  const text = bytes.subarray(from, end).toString()
  const spans = parseSpans(text)
  if (spans.length > 0) await send(spans)
  await files.writeText(cursorFile, String(end), { durable: true })
  await keepDelivered(directory, text)
  return { bytes: end - from, spans: spans.length }
}

async function keepDelivered(directory: string, text: string): Promise<void> {
  const delivered = path.join(directory, DELIVERED_FILE)
  const size = (await files.stat(delivered))?.bytes ?? 0
  if (size > KEEP_BYTES) await files.rename(delivered, `${delivered}.1`)
  await files.appendText(delivered, text)
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
  return Object.fromEntries([...all].filter(([name]) => name.startsWith('OTEL_')))
}
