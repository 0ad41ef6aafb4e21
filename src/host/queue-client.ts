import { Queue, QueueEvents } from 'bullmq'
import type { JobProgress } from './ports.ts'
import { closeRedis, connectRedis } from './redis.ts'

const CONNECT_MS = 8000

/** How a job that was waited for ended. */
export type JobEnd =
  | { readonly kind: 'completed'; readonly jobId: string; readonly value: unknown }
  | { readonly kind: 'failed'; readonly jobId: string; readonly message: string }

/** Adds a job to a queue; its id. Throws CM2001 or CM2002 when Redis is not to be had. */
export async function enqueue(redisUrl: string, queue: string, data: unknown): Promise<string> {
  const redis = await connectRedis(redisUrl, CONNECT_MS)
  const producer = new Queue(queue, { connection: redis })
  try {
    return (await producer.add('workflow', data)).id ?? ''
  } finally {
    await producer.close()
    await closeRedis(redis)
  }
}

/** Adds a job and waits for its end; `failed` also when `timeoutMs` goes by first. Throws as `enqueue` does. */
export async function enqueueAndWait(
  redisUrl: string,
  queue: string,
  data: unknown,
  timeoutMs: number,
  onProgress: (progress: JobProgress) => void = () => undefined,
): Promise<JobEnd> {
  const redis = await connectRedis(redisUrl, CONNECT_MS)
  const producer = new Queue(queue, { connection: redis })
  const events = new QueueEvents(queue, { connection: redis.duplicate() })
  try {
    await events.waitUntilReady()
    const job = await producer.add('workflow', data)
    const jobId = job.id ?? ''
    events.on('progress', (event) => {
      if (event.jobId === jobId) onProgress(event.data as unknown as JobProgress)
    })
    return await job.waitUntilFinished(events, timeoutMs).then(
      (value: unknown): JobEnd => ({ kind: 'completed', jobId, value }),
      (error: Error): JobEnd => ({ kind: 'failed', jobId, message: error.message }),
    )
  } finally {
    await events.close()
    await producer.close()
    await closeRedis(redis)
  }
}
