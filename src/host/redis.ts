import { Redis } from 'ioredis'
import { MachineError } from '../errors.ts'

const RETRY_MS = 2000
const CONNECT_MS = 3000
const DISCONNECT_MS = 100
const KEEP_ALIVE_MS = 15_000
const REFUSED = /\b(NOAUTH|WRONGPASS|NOPERM)\b|invalid (username-password|password)|without any password configured/i

/**
 * A connection to Redis that is ready and from then on reconnects by itself for ever.
 * Throws CM2002 when Redis refuses user or password, CM2001 when it is not ready within `timeoutMs`.
 */
export async function connectRedis(url: string, timeoutMs: number): Promise<Redis> {
  const redis = new Redis(url, {
    lazyConnect: true,
    maxRetriesPerRequest: null,
    connectTimeout: CONNECT_MS,
    disconnectTimeout: DISCONNECT_MS,
    keepAlive: KEEP_ALIVE_MS,
    retryStrategy: (times) => Math.min(50 * 2 ** Math.min(times, 10), RETRY_MS),
  })
  try {
    await untilReady(redis, timeoutMs)
    return redis
  } catch (error) {
    redis.disconnect()
    throw error
  }
}

/** Ends a connection; a Redis that does not answer is left behind. */
export async function closeRedis(redis: Redis): Promise<void> {
  if (redis.status === 'ready') await Promise.allSettled([redis.quit()])
  redis.disconnect()
}

function untilReady(redis: Redis, timeoutMs: number): Promise<void> {
  const where = `${redis.options.host ?? redis.options.path}:${redis.options.port ?? ''}`
  return new Promise((resolve, reject) => {
    let last = 'no answer'
    const timer = setTimeout(() => {
      reject(new MachineError('CM2001', `${where} did not become ready in ${timeoutMs / 1000} s: ${last}`))
    }, timeoutMs)
    redis.on('error', (error: Error) => {
      last = error.message
      if (!REFUSED.test(error.message)) return
      clearTimeout(timer)
      reject(new MachineError('CM2002', `${where}: ${error.message}`, { cause: error }))
    })
    redis.once('ready', () => {
      clearTimeout(timer)
      resolve()
    })
    redis.connect().catch((error: Error) => {
      last = error.message
    })
  })
}
