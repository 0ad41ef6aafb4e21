import { describe, expect, it } from 'vitest'
import type { Notify } from '../../../src/host/ports.ts'
import type { JobAccount } from '../../../src/worker/job-account.ts'
import { serve } from '../../../src/worker/serve.ts'
import type { WorkerStatus } from '../../../src/worker/status.ts'
import { countingIds, fakeClock, fakeComfyUI, fakeJob, fakeJournal, fakeSocket, fakeSource } from './fakes.ts'

const DATA = { workflow: { '1': { class_type: 'A', inputs: {} } } }

function setUp() {
  const said: string[] = []
  const kept: WorkerStatus[] = []
  const accounts: JobAccount[] = []
  const notify: Notify = {
    ready: () => said.push('ready'),
    stopping: () => said.push('stopping'),
    status: (text) => said.push(text),
    extend: () => said.push('extend'),
    watchdog: () => said.push('watchdog'),
  }
  const stop = new AbortController()
  const hurry = new AbortController()
  const clock = fakeClock()
  const source = fakeSource()
  const socket = fakeSocket()
  const comfyui = fakeComfyUI({ queue: async () => ({ running: ['p1'], pending: [] }) })
  const journal = fakeJournal()
  const ended = serve({
    ...{ source, socket, comfyui, clock, journal, notify, clientId: 'w', queues: ['comfyui'] },
    ...{ keepStatus: (status) => kept.push(status), stop: stop.signal, hurry: hurry.signal },
    ...{ account: (account) => accounts.push(account), newId: countingIds(), pendingModels: async () => [] },
  })
  return { ended, said, kept, accounts, stop, hurry, clock, source, socket, comfyui, journal }
}

describe('a worker', () => {
  it('is ready, then drained when it is told to stop without a job', async () => {
    const { ended, said, kept, stop, source } = setUp()
    expect(said[0]).toBe('ready')
    expect(kept[0]).toMatchObject({ is_connected: true, status: 'idle', current_job_id: null })
    stop.abort()
    await ended
    expect(said).toContain('stopping')
    expect(source.isPaused()).toBe(true)
    expect(kept.at(-1)).toMatchObject({ is_connected: false, status: 'disconnected' })
  })

  it('finishes the running job before it stops', async () => {
    const { ended, said, stop, source, comfyui, socket } = setUp()
    const outcome = source.give(fakeJob(DATA))
    await new Promise((resolve) => setImmediate(resolve))
    stop.abort()
    await new Promise((resolve) => setImmediate(resolve))
    expect(source.isPaused()).toBe(true)
    comfyui.history = async () => ({ outputs: {} })
    socket.say('executing', { node: null, prompt_id: 'p1' })
    await ended
    expect(await outcome).toMatchObject({ kind: 'completed' })
    expect(said).toContain('extend')
  })

  it('returns the running job at the second call to stop', async () => {
    const { ended, stop, hurry, source, comfyui, journal } = setUp()
    const outcome = source.give(fakeJob(DATA))
    comfyui.interrupt = async () => {
      comfyui.queue = async () => ({ running: [], pending: [] })
    }
    await new Promise((resolve) => setImmediate(resolve))
    stop.abort()
    hurry.abort()
    await ended
    expect(await outcome).toEqual({ kind: 'returned' })
    const line = journal.entries.find(({ message }) => message === 'job 7 is returned to the queue')
    expect(line?.fields).toEqual({ COMFY_JOB_ID: '7', TRACE_ID: '2'.padStart(32, '0'), SPAN_ID: '1'.padStart(16, '0') })
  })

  it('gives an account of each job, in the trace of its producer', async () => {
    const { ended, stop, source, accounts, comfyui } = setUp()
    comfyui.history = async () => ({ outputs: {} })
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    await source.give(fakeJob({ ...DATA, traceparent }))
    await source.give(fakeJob({}))
    stop.abort()
    await ended
    expect(accounts).toMatchObject([
      { jobId: '7', outcome: { kind: 'completed' }, trace: { parentSpanId: 'b'.repeat(16) } },
      { jobId: '7', outcome: { kind: 'failed' }, reason: 'invalid' },
    ])
    expect(accounts[1]?.trace.parentSpanId).toBeUndefined()
  })

  it('returns a running job that stands still for two minutes', async () => {
    const { ended, stop, source, comfyui, clock } = setUp()
    const startUs = clock.nowUs()
    const outcome = source.give(fakeJob(DATA))
    comfyui.interrupt = async () => {
      comfyui.queue = async () => ({ running: [], pending: [] })
    }
    stop.abort()
    await ended
    expect(await outcome).toEqual({ kind: 'returned' })
    expect((clock.nowUs() - startUs) / 1e6).toBeGreaterThan(120)
  })

  it('takes no job while ComfyUI is gone', async () => {
    const { ended, stop, source, socket } = setUp()
    expect(source.isPaused()).toBe(false)
    socket.emit({ kind: 'down', reason: 'reset' })
    expect(source.isPaused()).toBe(true)
    socket.emit({ kind: 'up' })
    expect(source.isPaused()).toBe(false)
    stop.abort()
    await ended
    socket.emit({ kind: 'up' })
    expect(source.isPaused()).toBe(true)
  })
})
