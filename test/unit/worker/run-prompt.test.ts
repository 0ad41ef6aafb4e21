import { describe, expect, it } from 'vitest'
import type { ComfyUI } from '../../../src/host/ports.ts'
import { type JobPorts, processJob } from '../../../src/worker/process-job.ts'
import { fakeClock, fakeComfyUI, fakeJob, fakeJournal, fakeSocket, fakeTrace } from './fakes.ts'

const DATA = { workflow: { '1': { class_type: 'A', inputs: {} } } }
const FINISHED = { outputs: { '9': { images: [{ filename: 'a.png', subfolder: '', type: 'output' }] } } }
const NEVER = new AbortController().signal

const run = async (ports: JobPorts, job: ReturnType<typeof fakeJob>, signal: AbortSignal) =>
  (await processJob(ports, job, fakeTrace(), signal)).outcome

function setUp(known: Partial<ComfyUI> = {}) {
  const ports = { clock: fakeClock(), journal: fakeJournal(), socket: fakeSocket(), clientId: 'w' }
  return { ...ports, comfyui: fakeComfyUI(known), pendingModels: async (): Promise<readonly string[]> => [] }
}

describe('a job', () => {
  it('completes with its files, though ComfyUI tells the end before it answers the prompt', async () => {
    const ports = setUp({
      submit: async () => {
        ports.socket.say('progress', { node: '3', value: 1, max: 2, prompt_id: 'p1' })
        ports.socket.say('executing', { node: null, prompt_id: 'p1' })
        return { kind: 'queued', promptId: 'p1' }
      },
      history: async () => FINISHED,
    })
    const job = fakeJob(DATA)
    const outcome = await run(ports, job, NEVER)
    expect(outcome).toMatchObject({
      kind: 'completed',
      value: { prompt_id: 'p1', outputs: [{ node_id: '9', filename: 'a.png', data_base64: 'cG5n' }] },
    })
    expect(job.shown).toEqual([])
  })

  it('that takes its time shows its progress, and the last of it too', async () => {
    let isFinished = false
    const ports = setUp({
      submit: async () => {
        ports.socket.say('progress', { node: '3', value: 1, max: 2, prompt_id: 'p1' })
        return { kind: 'queued', promptId: 'p1' }
      },
      history: async () => (isFinished ? FINISHED : undefined),
      queue: async () => ({ running: ['p1'], pending: [] }),
    })
    const job = fakeJob(DATA)
    const outcome = run(ports, job, NEVER)
    await expect.poll(() => job.shown.length).toBe(1)
    isFinished = true
    ports.socket.say('executing', { node: null, prompt_id: 'p1' })
    expect(await outcome).toMatchObject({ kind: 'completed' })
    expect(job.shown).toEqual([
      { value: 1, max: 2, node: '3', prompt_id: 'p1' },
      { value: 2, max: 2, node: null, prompt_id: 'p1' },
    ])
  })

  it('completes by the history when messages were lost with the connection', async () => {
    let asked = 0
    const ports = setUp({
      history: async () => {
        asked += 1
        return asked > 3 ? FINISHED : undefined
      },
      queue: async () => ({ running: ['p1'], pending: [] }),
    })
    const outcome = run(ports, fakeJob(DATA), NEVER)
    ports.socket.emit({ kind: 'down', reason: 'reset' })
    ports.socket.emit({ kind: 'up' })
    expect(await outcome).toMatchObject({ kind: 'completed' })
  })

  it('fails for good when ComfyUI refuses it, without a prompt to follow', async () => {
    const ports = setUp({ submit: async () => ({ kind: 'refused', status: 400, body: { error: 'no' } }) })
    const outcome = await run(ports, fakeJob(DATA), NEVER)
    expect(outcome).toEqual({ kind: 'failed', message: 'ComfyUI refused the workflow: no', isRetriable: false })
    const invalid = await run(ports, fakeJob({}), NEVER)
    expect(invalid).toMatchObject({ kind: 'failed', isRetriable: false })
  })

  it('that a model is missing for which is still loaded says so, and may be tried again', async () => {
    const error = (input: string, type = 'value_not_in_list') => ({
      type,
      message: type,
      extra_info: { input_name: input },
    })
    const node_errors = { '1': { errors: [error('ckpt'), error('lora'), error('seed', 'value_smaller_than_min')] } }
    const body = { error: { message: 'Prompt outputs failed validation' }, node_errors }
    const inputs = { ckpt: 'sub/wan.safetensors', lora: 'gone.safetensors', seed: 'there.safetensors' }
    const ports = {
      ...setUp({ submit: async () => ({ kind: 'refused', status: 400, body }) }),
      pendingModels: async () => [
        'checkpoints/sub/wan.safetensors',
        'loras/other-gone.safetensors',
        'x/there.safetensors',
      ],
    }
    const job = fakeJob({ workflow: { '1': { class_type: 'A', inputs } } })
    const outcome = await run(ports, job, NEVER)
    expect(outcome).toMatchObject({ kind: 'failed', isRetriable: true })
    expect(outcome).toHaveProperty(
      'message',
      expect.stringMatching(
        /^model checkpoints\/sub\/wan\.safetensors is still being loaded \(after_start\); ComfyUI refused/,
      ),
    )
    const unknown = { ...ports, pendingModels: () => Promise.reject(new Error('EACCES')) }
    expect(await run(unknown, job, NEVER)).toMatchObject({ isRetriable: false })
    expect(ports.journal.entries).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('EACCES') }),
    )
  })

  it('may be tried again when ComfyUI was restarted and forgot it', async () => {
    const outcome = await run(setUp(), fakeJob(DATA), NEVER)
    expect(outcome).toMatchObject({ kind: 'failed', isRetriable: true, message: expect.stringContaining('restarted') })
  })

  it('may be tried again when ComfyUI is gone for 15 s', async () => {
    const gone = () => Promise.reject(new Error('connect ECONNREFUSED'))
    const ports = setUp({ history: gone, queue: gone })
    const startUs = ports.clock.nowUs()
    ports.socket.emit({ kind: 'down', reason: 'reset' })
    const outcome = await run(ports, fakeJob(DATA), NEVER)
    expect(outcome).toMatchObject({
      kind: 'failed',
      isRetriable: true,
      message: expect.stringContaining('ECONNREFUSED'),
    })
    expect((ports.clock.nowUs() - startUs) / 1e6).toBeGreaterThan(15)
    expect((ports.clock.nowUs() - startUs) / 1e6).toBeLessThan(20)
  })

  it('waits as long as ComfyUI says that the prompt runs', async () => {
    const ports = setUp({ queue: async () => ({ running: ['p1'], pending: [] }) })
    const startUs = ports.clock.nowUs()
    ports.comfyui.history = async () => (ports.clock.nowUs() - startUs > 600e6 ? FINISHED : undefined)
    expect(await run(ports, fakeJob(DATA), NEVER)).toMatchObject({ kind: 'completed' })
  })

  it('given up is taken out of ComfyUI and returned', async () => {
    const abort = new AbortController()
    let isRunning = true
    const ports = setUp({ queue: async () => ({ running: isRunning ? ['p1'] : [], pending: [] }) })
    ports.comfyui.interrupt = async (id) => {
      ports.comfyui.asked.push(`interrupt ${id}`)
      isRunning = false
    }
    const outcome = run(ports, fakeJob(DATA), abort.signal)
    abort.abort()
    expect(await outcome).toEqual({ kind: 'returned' })
    expect(ports.comfyui.asked).toEqual(['interrupt p1'])
  })

  it('given up while it waits in ComfyUI is removed there, and what runs is left alone', async () => {
    let pending = ['p1']
    const ports = setUp({ queue: async () => ({ running: ['other'], pending }) })
    ports.comfyui.dequeue = async (id) => {
      ports.comfyui.asked.push(`dequeue ${id}`)
      pending = []
    }
    expect(await run(ports, fakeJob(DATA), AbortSignal.abort())).toEqual({ kind: 'returned' })
    expect(ports.comfyui.asked).toEqual(['dequeue p1'])
  })
})
