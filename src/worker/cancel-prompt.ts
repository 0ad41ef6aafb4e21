import { messageOf } from '../errors.ts'
import type { Clock, ComfyUI } from '../host/ports.ts'

const TRIES = 20
const PAUSE_MS = 100

/**
 * Takes a prompt out of ComfyUI: interrupts it when it runs, removes it when it waits, and waits up to 2 s until it is
 * out, so that the next prompt is not hit. Gives the reason when ComfyUI does not answer: then nothing runs there.
 */
export async function cancelPrompt(
  { comfyui, clock }: { readonly comfyui: ComfyUI; readonly clock: Clock },
  promptId: string,
): Promise<string | undefined> {
  try {
    let isInterrupted = false
    for (let i = 0; i < TRIES; i++) {
      const { running, pending } = await comfyui.queue()
      if (pending.includes(promptId)) await comfyui.dequeue(promptId)
      else if (!running.includes(promptId)) return undefined
      else if (!isInterrupted) {
        await comfyui.interrupt(promptId)
        isInterrupted = true
      }
      await clock.sleep(PAUSE_MS)
    }
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}
