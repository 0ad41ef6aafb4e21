import path from 'node:path'
import { collectSettings } from '../config/collect.ts'
import { CURSOR_FILE, DELIVERED_FILE, OUTBOX_FILE, parseSpans } from '../emit/outbox.ts'
import { messageOf } from '../errors.ts'
import { readWorkspace } from '../health/workspace.ts'
import { readConfigSources } from '../host/config-files.ts'
import { systemFiles as files } from '../host/files.ts'
import { openJournal } from '../host/journal.ts'

// After this much is delivered the record starts anew; the last startups stay in the delivered file.
const KEEP_BYTES = 4 * 2 ** 20
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
    for (let sent = -1; sent !== 0; ) {
      sent = await deliver(directory, exporter.send)
      if (sent > 0) journal.write({ message: `${sent} spans delivered`, priority: 'info' })
    }
    return 0
  } catch (error) {
    journal.write({ message: `the trace could not be delivered yet: ${messageOf(error)}`, priority: 'warning' })
    return EXIT_TRY_AGAIN
  } finally {
    await exporter.close()
  }
}

type Send = (spans: ReturnType<typeof parseSpans>) => Promise<void>

async function deliver(directory: string, send: Send): Promise<number> {
  const outbox = path.join(directory, OUTBOX_FILE)
  const cursorFile = path.join(directory, CURSOR_FILE)
  const bytes = Buffer.from((await files.readText(outbox)) ?? '')
  const cursor = Number((await files.readText(cursorFile)) ?? 0)
  const from = cursor <= bytes.length ? cursor : 0
  const end = bytes.lastIndexOf('\n') + 1
  if (end <= from) return 0
  const text = bytes.subarray(from, end).toString()
  const spans = parseSpans(text)
  await send(spans)
  await files.writeText(cursorFile, String(end), { durable: true })
  await keepDelivered(directory, text)
  return spans.length
}

async function keepDelivered(directory: string, text: string): Promise<void> {
  const delivered = path.join(directory, DELIVERED_FILE)
  const size = (await files.stat(delivered))?.bytes ?? 0
  if (size > KEEP_BYTES) await files.rename(delivered, `${delivered}.1`)
  await files.appendText(delivered, text)
}

async function readTelemetrySettings(): Promise<Readonly<Record<string, string>>> {
  const { sources } = await readConfigSources(files)
  const { settings } = collectSettings(sources)
  const own = [...settings].filter(([name]) => name.startsWith('OTEL_'))
  return Object.fromEntries(own.map(([name, { value }]) => [name, value]))
}
