import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { MachineError } from '../../../src/errors.ts'
import { BusLost, BusReplyError } from '../../../src/host/bus.ts'
import { repeatUntilAnswered } from '../../../src/host/repeat.ts'

const noReply = new BusReplyError('org.freedesktop.DBus.Error.NoReply', 'the manager executes itself')

describe('a call that may be made twice', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })

  afterEach(() => {
    vi.useRealTimers()
  })

  test('is made until it is answered, over a daemon-reexec and a restart of the bus', async () => {
    const failures = [noReply, new BusLost('closed'), new BusLost('closed')]
    const tried: number[] = []
    const answer = repeatUntilAnswered(async (tries) => {
      tried.push(tries)
      const failure = failures.shift()
      if (failure !== undefined) throw failure
      return 'answer'
    })
    await vi.advanceTimersByTimeAsync(1_000)
    expect(await answer).toBe('answer')
    expect(tried).toEqual([1, 2, 3, 4])
  })

  test.each([
    ['an error that is an answer', new BusReplyError('org.freedesktop.systemd1.NoSuchUnit', 'not loaded')],
    ['a time limit', new MachineError('CM0501', 'took longer than 25 s')],
  ])('is made once when it ends with %s', async (_, error) => {
    let tries = 0
    const failed = repeatUntilAnswered(async () => {
      tries += 1
      throw error
    })
    await expect(failed).rejects.toBe(error)
    expect(tries).toBe(1)
  })

  test('is given up after five seconds, and at once when nobody waits for it any more', async () => {
    const begun = Date.now()
    let lastMs = 0
    const never = async (): Promise<never> => {
      lastMs = Date.now() - begun
      throw noReply
    }
    const failed = expect(repeatUntilAnswered(never)).rejects.toBe(noReply)
    await vi.advanceTimersByTimeAsync(30_000)
    await failed
    expect(lastMs).toBeGreaterThan(4_000)
    expect(lastMs).toBeLessThan(6_000)
    await expect(repeatUntilAnswered(never, () => true)).rejects.toBe(noReply)
    expect(vi.getTimerCount()).toBe(0)
  })
})
