import { describe, expect, it } from 'vitest'
import type { ComfyUI } from '../../../src/host/ports.ts'
import { tryPrompt } from '../../../src/worker/evidence-prompt.ts'
import { fakeClock, fakeComfyUI } from './fakes.ts'

function pngOf(width: number, height: number): Uint8Array {
  const head = Buffer.alloc(33)
  head.writeUInt32BE(0x89504e47, 0)
  head.writeUInt32BE(width, 16)
  head.writeUInt32BE(height, 20)
  return head
}

const SAVED = {
  status: { status_str: 'success', messages: [] },
  outputs: { 2: { images: [{ filename: 'picture_00001_.png', subfolder: 'comfy-machine-evidence', type: 'output' }] } },
}

function run(known: Partial<ComfyUI>, cpuMs: () => number | undefined = () => undefined, isAlive = true) {
  const comfyui = fakeComfyUI({
    view: async () => ({ contentType: 'image/png', bytes: 33, data: pngOf(64, 64) }),
    ...known,
  })
  const clock = fakeClock()
  const stop = new AbortController()
  const startUs = clock.nowUs()
  let signs = 0
  const onWaiting = (): void => {
    signs += 1
  }
  const process = { cpuMs: async () => cpuMs(), isAlive: async () => isAlive }
  const result = tryPrompt({ comfyui, clock, ...process, onWaiting, stop: stop.signal })
  return { comfyui, stop, result, signs: () => signs, seconds: () => (clock.nowUs() - startUs) / 1e6 }
}

describe('the prompt of the evidence', () => {
  it('is queued before others, seen in the output directory and forgotten', async () => {
    const prompts: unknown[] = []
    let looked = 0
    const { comfyui, result } = run({
      submit: async (prompt, _client, _extra, options) => {
        prompts.push([prompt, options])
        return { kind: 'queued', promptId: 'p1' }
      },
      history: async () => {
        looked += 1
        return looked < 3 ? undefined : SAVED
      },
    })
    expect(await result).toBeUndefined()
    expect(prompts).toMatchObject([
      [
        {
          1: { class_type: 'EmptyImage', inputs: { width: 64, height: 64 } },
          2: { class_type: 'SaveImage', inputs: { filename_prefix: 'comfy-machine-evidence/picture' } },
        },
        { front: true },
      ],
    ])
    expect(comfyui.asked).toEqual(['forget p1'])
  })

  it('that is refused says what ComfyUI says of each node', async () => {
    const errors = [{ message: 'Value not in list', details: 'images' }]
    const body = {
      error: { message: 'Prompt outputs failed validation' },
      node_errors: { 2: { class_type: 'SaveImage', errors } },
    }
    const gap = await run({ submit: async () => ({ kind: 'refused', status: 400, body }) }).result
    expect(gap).toMatchObject({ component: 'prompt', error: { code: 'CM1904' } })
    expect(gap?.error.message).toContain('node 2 (SaveImage): Value not in list (images)')
  })

  it('that fails says the exception', async () => {
    const data = { node_id: '2', node_type: 'SaveImage', exception_type: 'OSError', exception_message: 'Read-only' }
    const status = { status_str: 'error', messages: [['execution_error', data]] }
    const gap = await run({ history: async () => ({ status }) }).result
    expect(gap?.error.message).toContain('SaveImage (node 2): OSError: Read-only')
  })

  it('that ends well without the right picture is a gap', async () => {
    const bare = await run({ history: async () => ({ ...SAVED, outputs: {} }) }).result
    expect(bare?.error.message).toContain('names no picture')
    const view: ComfyUI['view'] = async () => ({ contentType: 'image/png', bytes: 33, data: pngOf(1, 1) })
    const wrong = await run({ history: async () => SAVED, view }).result
    expect(wrong?.error.message).toContain('picture_00001_.png is not the picture')
    const cut: ComfyUI['view'] = async () => ({ contentType: 'image/png', bytes: 3, data: Buffer.from('png') })
    expect((await run({ history: async () => SAVED, view: cut }).result)?.error.code).toBe('CM1904')
  })

  it('without a sign of life is given up after a minute and taken away', async () => {
    const { comfyui, result, seconds, signs } = run({}, () => 500)
    expect((await result)?.error.message).toContain('did not end in 6')
    expect(seconds()).toBeLessThan(63)
    expect(signs()).toBeGreaterThan(50)
    expect(comfyui.asked).toEqual(['dequeue p1', 'interrupt p1'])
  })

  it('has four minutes while ComfyUI works', async () => {
    let usedMs = 0
    const { result, seconds } = run({}, () => {
      usedMs += 1000
      return usedMs
    })
    expect((await result)?.error.message).toContain('did not end in 24')
    expect(seconds()).toBeGreaterThan(239)
  })

  it('outlasts answers that do not come, and ends at once with a ComfyUI that is gone', async () => {
    let looks = 0
    const history: ComfyUI['history'] = async () => {
      looks += 1
      if (looks < 20) throw new Error('no answer in 10 s')
      return SAVED
    }
    expect(await run({ history }).result).toBeUndefined()
    looks = 0
    const gone = run({ history }, undefined, false)
    expect((await gone.result)?.error.message).toBe('EmptyImage to SaveImage: no answer in 10 s')
    expect([looks, gone.seconds()]).toEqual([1, 0])
    const never = await run({ history: async () => Promise.reject(new Error('no answer in 10 s')) }).result
    expect(never?.error.message).toMatch(/did not end in 6\d s: no answer in 10 s/)
  })

  it('waits behind a job as long as that works', async () => {
    let usedMs = 0
    let looks = 0
    const { result, seconds } = run(
      {
        queue: async () => ({ running: ['job'], pending: ['p1'] }),
        history: async () => {
          looks += 1
          return looks > 4000 ? SAVED : undefined
        },
      },
      () => {
        usedMs += 1000
        return usedMs
      },
    )
    expect(await result).toBeUndefined()
    expect(seconds()).toBeGreaterThan(900)
  })

  it('tells nothing when it is told to stop', async () => {
    const { result, stop } = run({})
    stop.abort()
    expect(await result).toBeUndefined()
  })
})
