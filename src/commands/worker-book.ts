import { join } from 'node:path'
import { openOutbox } from '../emit/outbox.ts'
import { messageOf } from '../errors.ts'
import type { Files } from '../host/ports.ts'
import type { UnitHost } from '../host/unit-process.ts'
import type { MachinePlan, PlannedWorker } from '../plan/plan.ts'
import { outboxDirectory } from '../render/unit-values.ts'
import { rootSpanId } from '../trace-context.ts'
import { type JobBook, openJobBook } from '../worker/job-book.ts'
import { JOB_COUNTERS_FILE } from '../worker/job-counters.ts'
import type { SpanOrigin } from '../worker/job-span.ts'
import { readResource } from './read-resource.ts'

/** The book of a worker's jobs: spans in an outbox of its own, counters beside its status. */
export async function openWorkerBook(host: UnitHost, plan: MachinePlan, worker: PlannedWorker): Promise<JobBook> {
  const { files, clock, journal } = host
  const warn = (message: string): void => journal.write({ message, priority: 'warning' })
  const runtime = host.env['RUNTIME_DIRECTORY']?.split(':')[0] ?? ''
  const origin = await originOf(files, plan, worker)
  const outbox = openOutbox(files, outboxDirectory(worker.gpu), { onLost: (spans) => book.lose(spans) })
  const book = openJobBook(
    {
      clock,
      append: (spans) => outbox.append(spans),
      async keepCounters(counters) {
        if (runtime === '') return
        await files
          .writeText(join(runtime, JOB_COUNTERS_FILE), `${JSON.stringify(counters)}\n`)
          .catch((error: unknown) => warn(`the counters could not be kept: ${messageOf(error)}`))
      },
      warn,
    },
    origin,
  )
  return book
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
