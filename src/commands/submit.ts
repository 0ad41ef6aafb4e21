import { basename, join } from 'node:path'
import { MachineError, messageOf } from '../errors.ts'
import { systemFiles } from '../host/files.ts'
import { enqueue, enqueueAndWait } from '../host/queue-client.ts'
import { saveBytes } from '../host/save-bytes.ts'
import { parseContext } from '../worker/carrier.ts'
import { toJobData } from '../worker/job.ts'
import type { JobResult } from '../worker/outputs.ts'

const DEFAULT_TIMEOUT_MS = 3_600_000

/** What `comfy-machine submit` is told. `redisUrl` as `HUB_REDIS_URL` is. */
export interface SubmitOptions {
  readonly redisUrl: string
  readonly queue: string
  readonly workflowFile: string
  /** Wait for the job's end, showing its progress. */
  readonly wait: boolean
  /** Directory that the returned files are saved in. */
  readonly out?: string
  readonly timeoutMs?: number
  /** Where OpenTelemetry's environment carrier is looked for: TRACEPARENT and TRACESTATE. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly print: (line: string) => void
}

/** Adds a job from a workflow file in API format. Exit code 0 when it is queued, or with `wait` only when it completed. */
export async function submitCommand(options: SubmitOptions): Promise<number> {
  const { redisUrl, queue, print } = options
  const { env = process.env } = options
  const context = parseContext(env['TRACEPARENT'], env['TRACESTATE'])
  const data = toJobData(await readWorkflow(options.workflowFile), context)
  const inTrace = context === undefined ? '' : `, trace ${context.traceId}`
  if (!options.wait) {
    print(`job ${await enqueue(redisUrl, queue, data)} is queued in ${queue}${inTrace}`)
    return 0
  }
  const end = await enqueueAndWait(redisUrl, queue, data, options.timeoutMs ?? DEFAULT_TIMEOUT_MS, (progress) => {
    print(`${progress.node === null ? 'prompt' : `node ${progress.node}`}: ${progress.value} of ${progress.max}`)
  })
  if (end.kind === 'failed') {
    print(`job ${end.jobId} failed: ${end.message}${inTrace}`)
    return 1
  }
  const result = end.value as JobResult
  print(`job ${end.jobId} completed in ${result.duration_ms} ms, trace ${result.trace_id}`)
  for (const output of result.outputs) {
    const saved = options.out === undefined ? undefined : await save(options.out, output)
    print(`  node ${output.node_id}: ${output.filename}, ${output.content_type}, ${output.bytes} bytes${saved ?? ''}`)
  }
  return 0
}

async function readWorkflow(path: string): Promise<unknown> {
  const text = await systemFiles.readText(path)
  if (text === undefined) throw new MachineError('CM0002', `${path} does not exist`)
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new MachineError('CM0002', `${path} is not JSON: ${messageOf(error)}`, { cause: error })
  }
}

async function save(directory: string, output: JobResult['outputs'][number]): Promise<string> {
  if (output.data_base64 === undefined) return ', too large to travel with the job'
  const path = join(directory, basename(output.filename))
  await systemFiles.makeDirectory(directory)
  await saveBytes(path, output.data_base64)
  return `, saved as ${path}`
}
