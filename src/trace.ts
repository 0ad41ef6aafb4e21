import type { MachineConfig } from './config/load-config.ts'
import { openOutbox, trimOutbox } from './emit/outbox.ts'
import type { Recorder } from './emit/recorder.ts'
import { messageOf } from './errors.ts'
import type { Manager } from './host/ports.ts'
import type { MachineHost } from './machine-host.ts'
import { telemetryDirectory } from './render/unit-values.ts'

const TELEMETRY = 'comfy-telemetry.service'
const DELIVERY_INTERVAL_MS = 2_000
const LAST_DELIVERY_MS = 3_000

/** Keeps the spans of a configured machine; they are delivered when a collector is configured. */
export async function openTrace(
  host: MachineHost,
  recorder: Recorder,
  config: MachineConfig,
  manager: Manager,
): Promise<void> {
  const names = [...Object.keys(config.environment), ...config.secrets.keys()]
  const hasCollector = names.some((name) => /^OTEL_EXPORTER_OTLP_(TRACES_)?ENDPOINT$/.test(name))
  await keepTrace(
    host,
    recorder,
    telemetryDirectory({ paths: { workspace: config.workspace } }),
    hasCollector ? manager : undefined,
  )
}

/** Keeps spans in `directory`; each new one makes systemd start the delivery, at most every two seconds. */
export async function keepTrace(
  host: MachineHost,
  recorder: Recorder,
  directory: string,
  manager: Manager | undefined,
): Promise<void> {
  await host.files.makeDirectory(directory, 0o755)
  await host.files.chown(directory, 'comfy-agent')
  await trimOutbox(host.files, directory)
  let isDue = false
  const deliver = async (): Promise<void> => {
    isDue = false
    await recorder.flush()
    await manager
      ?.start(TELEMETRY)
      .catch((error: unknown) => recorder.warn(`the trace is not delivered yet: ${messageOf(error)}`))
  }
  const resource = {
    'service.name': 'comfy-machine',
    'service.version': recorder.machine.state.version,
    ...(await host.readResource()),
  }
  recorder.keepSpans(openOutbox(host.files, directory), resource, () => {
    if (isDue) return
    isDue = true
    setTimeout(deliver, DELIVERY_INTERVAL_MS).unref()
  })
}

/** Has everything delivered that was told so far; gives up after three seconds, the record on disk stays. */
export async function deliverTrace(host: MachineHost, recorder: Recorder, manager: Manager): Promise<void> {
  await recorder.flush()
  // A delivery that is under way may have read the record before its last lines: the second start comes after it.
  const deliver = async (): Promise<void> => {
    await manager.startAndWait(TELEMETRY)
    await manager.startAndWait(TELEMETRY)
  }
  const delivered = new AbortController()
  await Promise.race([
    deliver().catch((error: unknown) => recorder.warn(`the trace is not delivered yet: ${messageOf(error)}`)),
    host.clock.sleep(LAST_DELIVERY_MS, AbortSignal.any([host.signal, delivered.signal])),
  ])
  delivered.abort()
}
