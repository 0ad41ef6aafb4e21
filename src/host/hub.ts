import { Redis } from 'ioredis'
import type { Hub } from './ports.ts'

const CONNECT_MS = 3_000
const LONGEST_RETRY_MS = 5_000

/**
 * The hub's Redis, for publishing only. A message that cannot be sent now is lost, never queued: the next one says more,
 * and a slow hub must not hold up the machine.
 */
export function openHub(url: string): Hub {
  const redis = new Redis(url, {
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: CONNECT_MS,
    commandTimeout: CONNECT_MS,
    retryStrategy: (times) => Math.min(100 * 2 ** Math.min(times, 8), LONGEST_RETRY_MS),
  })
  let lastError = 'not connected'
  redis.on('error', (error: Error) => {
    lastError = error.message
  })
  const connected = redis.connect().catch((error: Error) => {
    lastError = error.message
  })
  return {
    async publish(channel, message) {
      await connected
      try {
        await redis.publish(channel, message)
        return undefined
      } catch (error) {
        return error instanceof Error && !error.message.startsWith("Stream isn't writeable") ? error.message : lastError
      }
    },
    close: async () => redis.disconnect(),
  }
}
