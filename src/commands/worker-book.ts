import { join } from 'node:path'
import { openOutbox } from '../emit/outbox.ts'
import { rootSpanId } from '../emit/spans.ts'
import { messageOf } from '../errors.ts'
import type { Files } from '../host/ports.ts'
import type { UnitHost } from '../host/unit-process.ts'
import type { MachinePlan, PlannedWorker } from '../plan/plan.ts'
import { workerTelemetryDirectory } from '../render/unit-values.ts'
import { type JobBook, openJobBook } from '../worker/job-book.ts'
import { JOB_COUNTERS_FILE } from '../worker/job-counters.ts'
import type { SpanOrigin } from '../worker/job-span.ts'
import { readResource } from './read-resource.ts'

/** The book of a worker's jobs: spans in its own directory of the spool, counters beside its status. */
export async function openWorkerBook(host: UnitHost, plan: MachinePlan, worker: PlannedWorker): Promise<JobBook> {
  const { clock, journal } = host
  const warn = (message: string): void => journal.write({ message, priority: 'warning' })
  const directory = workerTelemetryDirectory(plan, worker.gpu)
  // The controller has made it; without one, what is missing is told with the first span that is lost.
  await host.files.makeDirectory(directory).catch(() => undefined)
  const outbox = openOutbox(withoutSync(host.files), directory)
  const runtime = host.env['RUNTIME_DIRECTORY']?.split(':')[0] ?? ''
  return openJobBook(
    {
      clock,
      append: (spans) => outbox.append(spans),
      async keepCounters(counters) {
        if (runtime === '') return
        await host.files
          .writeText(join(runtime, JOB_COUNTERS_FILE), `${JSON.stringify(counters)}\n`)
          .catch((error: unknown) => warn(`the counters could not be kept: ${messageOf(error)}`))
      },
      warn,
    },
    await originOf(host.files, plan, worker),
  )
}

// A power cut may take the last seconds of jobs: to wait for the disk with each one costs more than that is worth.
function withoutSync(files: Files): Files {
  return { ...files, appendText: (path, text, options) => files.appendText(path, text, { ...options, durable: false }) }
}

async function originOf(files: Files, plan: MachinePlan, worker: PlannedWorker): Promise<SpanOrigin> {
  const gpu = plan.gpus.find(({ name }) => name === worker.gpu)
  return {
    attributes: {
      machine_id: plan.machineId,
      gpu_mode: plan.gpuMode,
      'worker.id': worker.id,
      ...(gpu === undefined ? {} : { 'gpu.index': gpu.index, 'gpu.uuid': gpu.uuid ?? `MOCK-${gpu.index}` }),
    },
    resource: await readResource(files, plan.version),
    startup: { traceId: plan.traceId, spanId: rootSpanId(plan.traceId) },
  }
}
