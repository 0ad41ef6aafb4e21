import { BusLost, BusReplyError } from './bus.ts'

// What a call gets while the manager executes itself anew, or while the bus is started anew.
const PASSING =
  /^org\.freedesktop\.DBus\.Error\.(NoReply|Disconnected|ServiceUnknown|NameHasNoOwner|Timeout|TimedOut|Spawn\..+)$/
// Five seconds together: daemon-reexec is over after 0.2 s, a restart of the bus after less than one.
const WAITS_MS = [25, 50, 100, 200, 400, ...Array.from({ length: 9 }, () => 500)] as const

/** Tells whether a call failed only because nobody was there to answer it. Whether it was carried out is not known then. */
export function isUnanswered(error: unknown): boolean {
  return error instanceof BusLost || (error instanceof BusReplyError && PASSING.test(error.errorName))
}

/** Makes a call that may be made twice until it is answered, for five seconds at most; throws as the last try did. */
export async function repeatUntilAnswered<T>(
  call: (tries: number) => Promise<T>,
  isClosed: () => boolean = () => false,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call(tries)
    } catch (error) {
      const waitMs = WAITS_MS[tries - 1]
      if (waitMs === undefined || isClosed() || !isUnanswered(error)) throw error
      await new Promise((resolve) => setTimeout(resolve, waitMs))
    }
  }
}
